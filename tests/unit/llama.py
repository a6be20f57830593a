#!/usr/bin/env python3
# llama.py - the logits of a published model, read and computed by nothing of ours.
# SPDX-License-Identifier: GPL-3.0-or-later
#
#   llama.py DIR ID...   prints the logits after the last of the token ids, one a line
#
# Reads model.safetensors and config.json as their published descriptions say and evaluates
# LlamaForCausalLM in float64 with the standard library alone: RMSNorm (Zhang and Sennrich 2019),
# rotary embedding in rotate_half layout (Su et al. 2021), grouped-query attention (Ainslie et al.
# 2023), SwiGLU (Shazeer 2020). Exits with a sentence when a tensor is missing, left over, of
# another shape, or when bytes overlap or are unaccounted for.
import json
import math
import struct
import sys


def read_tensors(path):
    data = open(path, "rb").read()
    (n,) = struct.unpack("<Q", data[:8])
    assert n % 8 == 0 and data[8:9] == b"{", "the header is not padded to 8 bytes"
    header = json.loads(data[8 : 8 + n])
    assert header.pop("__metadata__", {}).get("format") == "pt", "no format in __metadata__"
    body, tensors, at = data[8 + n :], {}, 0
    for name, t in sorted(header.items(), key=lambda kv: kv[1]["data_offsets"]):
        begin, end = t["data_offsets"]
        assert begin == at, f"{name} does not begin where the one before ends"
        count = math.prod(t["shape"])
        assert t["dtype"] in ("F32", "BF16"), f"{name} is {t['dtype']}"
        assert end - begin == count * (4 if t["dtype"] == "F32" else 2), f"{name} has a wrong size"
        if t["dtype"] == "F32":
            values = struct.unpack(f"<{count}f", body[begin:end])
        else:
            words = struct.unpack(f"<{count}H", body[begin:end])
            values = struct.unpack(f"<{count}f", struct.pack(f"<{count}I", *(w << 16 for w in words)))
        tensors[name] = (t["shape"], values)
        at = end
    assert at == len(body), "bytes are left behind the last tensor"
    return tensors


class Llama:
    def __init__(self, folder):
        self.c = c = json.load(open(folder + "/config.json"))
        assert c["architectures"] == ["LlamaForCausalLM"] and c["model_type"] == "llama"
        assert c["hidden_act"] == "silu" and not c["attention_bias"] and not c["mlp_bias"]
        self.t = read_tensors(folder + "/model.safetensors")
        self.used = set()

    def matrix(self, name, rows, cols):
        shape, v = self.t[name]
        assert shape == [rows, cols], f"{name} is {shape}, not {[rows, cols]}"
        self.used.add(name)
        return [v[i * cols : (i + 1) * cols] for i in range(rows)]

    def vector(self, name, n):
        shape, v = self.t[name]
        assert shape == [n], f"{name} is {shape}, not {[n]}"
        self.used.add(name)
        return v

    def norm(self, x, w):
        r = 1 / math.sqrt(math.fsum(a * a for a in x) / len(x) + self.c["rms_norm_eps"])
        return [a * r * b for a, b in zip(x, w)]

    def rotate(self, x, position):
        half = len(x) // 2
        out = [0.0] * len(x)
        for i in range(half):
            angle = position * self.c["rope_theta"] ** (-2 * i / len(x))
            a, b, s, c = x[i], x[i + half], math.sin(angle), math.cos(angle)
            out[i], out[i + half] = a * c - b * s, b * c + a * s
        return out

    def attention(self, at, rows):
        c = self.c
        width, d = c["hidden_size"], c["head_dim"]
        heads, kv_heads = c["num_attention_heads"], c["num_key_value_heads"]
        w = {
            k: self.matrix(f"{at}.self_attn.{k}_proj.weight", n * d, width)
            for k, n in (("q", heads), ("k", kv_heads), ("v", kv_heads))
        }
        o = self.matrix(f"{at}.self_attn.o_proj.weight", width, heads * d)
        split = lambda x, n: [x[h * d : (h + 1) * d] for h in range(n)]
        q = [[self.rotate(h, p) for h in split(times(w["q"], x), heads)] for p, x in enumerate(rows)]
        k = [[self.rotate(h, p) for h in split(times(w["k"], x), kv_heads)] for p, x in enumerate(rows)]
        v = [split(times(w["v"], x), kv_heads) for x in rows]
        out = []
        for p in range(len(rows)):
            row = []
            for h in range(heads):
                g = h // (heads // kv_heads)
                s = [dot(q[p][h], k[j][g]) / math.sqrt(d) for j in range(p + 1)]
                top = max(s)
                e = [math.exp(a - top) for a in s]
                total = math.fsum(e)
                row += [sum(e[j] * v[j][g][i] for j in range(p + 1)) / total for i in range(d)]
            out.append(times(o, row))
        return out

    def logits(self, ids):
        c = self.c
        width, inner, vocab = c["hidden_size"], c["intermediate_size"], c["vocab_size"]
        embed = self.matrix("model.embed_tokens.weight", vocab, width)
        rows = [list(embed[i]) for i in ids]
        for layer in range(c["num_hidden_layers"]):
            at = f"model.layers.{layer}"
            w = self.vector(f"{at}.input_layernorm.weight", width)
            rows = add(rows, self.attention(at, [self.norm(x, w) for x in rows]))
            w = self.vector(f"{at}.post_attention_layernorm.weight", width)
            gate = self.matrix(f"{at}.mlp.gate_proj.weight", inner, width)
            up = self.matrix(f"{at}.mlp.up_proj.weight", inner, width)
            down = self.matrix(f"{at}.mlp.down_proj.weight", width, inner)
            out = []
            for x in rows:
                x = self.norm(x, w)
                g, u = times(gate, x), times(up, x)
                out.append(times(down, [a / (1 + math.exp(-a)) * b for a, b in zip(g, u)]))
            rows = add(rows, out)
        last = self.norm(rows[-1], self.vector("model.norm.weight", width))
        tied = c["tie_word_embeddings"]
        head = embed if tied else self.matrix("lm_head.weight", vocab, width)
        left = set(self.t) - self.used
        assert not left, f"left over: {sorted(left)}"
        return times(head, last)


def dot(a, b):
    return math.fsum(x * y for x, y in zip(a, b))


def times(matrix, x):
    return [dot(row, x) for row in matrix]


def add(a, b):
    return [[x + y for x, y in zip(p, q)] for p, q in zip(a, b)]


for value in Llama(sys.argv[1]).logits([int(i) for i in sys.argv[2:]]):
    print(repr(value))
