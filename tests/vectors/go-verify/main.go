// go-verify checks a log's folder with golang.org/x/mod alone: an implementation that shares no
// line with ours.
// SPDX-License-Identifier: GPL-3.0-or-later
//
//	go-verify DIR VKEY [OLDER-CHECKPOINT]
//
// The checkpoint's signature (sumdb/note), every tile on the way to every entry against the
// signed root (tlog.TileHashReader), every entry against its leaf hash, an inclusion proof for
// the first entry of each bundle (tlog.CheckRecord) and, when given, consistency with an older
// checkpoint (tlog.CheckTree). Prints "verified N entries" or says what is wrong and exits 1.
package main

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// tileDir reads C2SP tile paths below a folder.
type tileDir string

func (d tileDir) Height() int { return 8 }

func (d tileDir) SaveTiles(tiles []tlog.Tile, data [][]byte) {}

func number(n int64) string {
	s := fmt.Sprintf("%03d", n%1000)
	for n >= 1000 {
		n /= 1000
		s = fmt.Sprintf("x%03d/%s", n%1000, s)
	}
	return s
}

func (d tileDir) read(level string, n int64, width int) ([]byte, error) {
	path := filepath.Join(string(d), "tile", level, number(n))
	if width < 256 {
		path += ".p/" + strconv.Itoa(width)
	}
	return os.ReadFile(path)
}

func (d tileDir) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, t := range tiles {
		if t.H != 8 || t.L < 0 {
			return nil, errors.New("an unexpected kind of tile was asked for")
		}
		b, err := d.read(strconv.Itoa(t.L), t.N, t.W)
		if err != nil {
			return nil, err
		}
		all = append(all, b)
	}
	return all, nil
}

// open gives the tree of a signed checkpoint.
func open(path string, v note.Verifier) (t tlog.Tree, err error) {
	msg, err := os.ReadFile(path)
	if err != nil {
		return t, err
	}
	n, err := note.Open(msg, note.VerifierList(v))
	if err != nil {
		return t, err
	}
	lines := strings.Split(n.Text, "\n")
	if len(lines) < 4 || lines[0] != v.Name() {
		return t, errors.New("the checkpoint is of another log")
	}
	if t.N, err = strconv.ParseInt(lines[1], 10, 64); err != nil {
		return t, err
	}
	root, err := base64.StdEncoding.DecodeString(lines[2])
	if err != nil || len(root) != tlog.HashSize {
		return t, errors.New("the checkpoint has no root")
	}
	copy(t.Hash[:], root)
	return t, nil
}

// bundles calls each for the leaf hashes of each bundle's entries, in order; first is the index
// of the first one.
func bundles(d tileDir, size int64, each func(first int64, leaves []tlog.Hash) error) error {
	for i := int64(0); i < size; i += 256 {
		width := int64(256)
		if size-i < width {
			width = size - i
		}
		b, err := d.read("entries", i/256, int(width))
		if err != nil {
			return err
		}
		var leaves []tlog.Hash
		for int64(len(leaves)) < width {
			if len(b) < 2 || len(b)-2 < int(binary.BigEndian.Uint16(b)) {
				return fmt.Errorf("the bundle of entry %d is cut off", i)
			}
			n := 2 + int(binary.BigEndian.Uint16(b))
			leaves = append(leaves, tlog.RecordHash(b[2:n]))
			b = b[n:]
		}
		if len(b) != 0 {
			return fmt.Errorf("the bundle of entry %d is too long", i)
		}
		if err := each(i, leaves); err != nil {
			return err
		}
	}
	return nil
}

// checkBundle compares leaf hashes with the authenticated tiles and proves the first of them.
func checkBundle(tree tlog.Tree, hashes tlog.HashReader, first int64, leaves []tlog.Hash) error {
	var indexes []int64
	for i := range leaves {
		indexes = append(indexes, tlog.StoredHashIndex(0, first+int64(i)))
	}
	stored, err := hashes.ReadHashes(indexes)
	if err != nil {
		return err
	}
	for i, h := range stored {
		if h != leaves[i] {
			return fmt.Errorf("entry %d is not the one in the tree", first+int64(i))
		}
	}
	proof, err := tlog.ProveRecord(tree.N, first, hashes)
	if err != nil {
		return err
	}
	return tlog.CheckRecord(proof, tree.N, tree.Hash, first, leaves[0])
}

func verify(dir, vkey, older string) (int64, error) {
	v, err := note.NewVerifier(vkey)
	if err != nil {
		return 0, err
	}
	tree, err := open(filepath.Join(dir, "checkpoint"), v)
	if err != nil {
		return 0, err
	}
	d := tileDir(dir)
	hashes := tlog.TileHashReader(tree, d)
	err = bundles(d, tree.N, func(first int64, leaves []tlog.Hash) error {
		return checkBundle(tree, hashes, first, leaves)
	})
	if err != nil || older == "" {
		return tree.N, err
	}
	old, err := open(older, v)
	if err != nil {
		return 0, err
	}
	proof, err := tlog.ProveTree(tree.N, old.N, hashes)
	if err != nil {
		return 0, err
	}
	return tree.N, tlog.CheckTree(proof, tree.N, tree.Hash, old.N, old.Hash)
}

func main() {
	if len(os.Args) < 3 || len(os.Args) > 4 {
		fmt.Fprintln(os.Stderr, "usage: go-verify DIR VKEY [OLDER-CHECKPOINT]")
		os.Exit(2)
	}
	older := ""
	if len(os.Args) == 4 {
		older = os.Args[3]
	}
	n, err := verify(os.Args[1], os.Args[2], older)
	if err != nil {
		fmt.Fprintln(os.Stderr, "go-verify:", err)
		os.Exit(1)
	}
	fmt.Printf("verified %d entries\n", n)
}
