# xml-text.awk - the plain text of Mallard, DocBook and HTML pages, a paragraph a line, a page a block.
# SPDX-License-Identifier: GPL-3.0-or-later
#
# awk -f xml-text.awk [-v known=ENGLISH.txt] PAGE...
# Lines that stand word for word in `known` are left out: they were never translated.
# Splits at "<", which XML allows nowhere but at the start of markup; needs no UTF-8 awk.
BEGIN {
    RS = "<"
    split("info credit comment revision articleinfo bookinfo legalnotice indexterm screen code " \
          "programlisting synopsis head script style header aside footer nav pre noscript media mediaobject inlinemediaobject figure cmdsynopsis", list, " ")
    for (i in list) skipped[list[i]] = 1
    split("p title subtitle desc item para simpara listitem term entry td th section page synopsis " \
          "h1 h2 h3 h4 h5 h6 li dt dd div br tr ul ol note steps list table cite listing example quote varlistentry", list2, " ")
    for (i in list2) block[list2[i]] = 1
    if (known) {
        RS = "\n"
        while ((getline line < known) > 0) seen[line] = 1
        close(known)
        RS = "<"
    }
}
function flush_line() {
    gsub(/[ \t\r\n]+/, " ", text)
    sub(/^ /, "", text); sub(/ $/, "", text)
    if (text ~ /[^ -\/:-@\[-`{-~0-9]/ && length(text) > 3 && !(text in seen)) {
        if (fresh_page && printed) print ""
        fresh_page = 0; printed = 1
        gsub(/&lt;/, "<", text); gsub(/&gt;/, ">", text); gsub(/&quot;/, "\"", text)
        gsub(/&apos;/, "'", text); gsub(/&nbsp;/, " ", text); gsub(/&[A-Za-z#][A-Za-z0-9.-]*;/, " ", text)
        gsub(/&amp;/, "\\&", text)
        print text
    }
    text = ""
}
FNR == 1 { flush_line(); fresh_page = 1; depth = 0; in_comment = 0; next }
in_comment { if (!index($0, "-->")) next; in_comment = 0; if (!depth) text = text substr($0, index($0, "-->") + 3); next }
/^!--/ { if (index($0, "-->")) { if (!depth) text = text substr($0, index($0, "-->") + 3) } else in_comment = 1; next }
/^[?!]/ { next }
{
    close_at = index($0, ">")
    tag = substr($0, 1, close_at - 1)
    rest = substr($0, close_at + 1)
    closing = tag ~ /^\//
    empty = tag ~ /\/$/
    name = tag
    sub(/^\//, "", name); sub(/[ \t\r\n\/].*$/, "", name); sub(/^[A-Za-z0-9]+:/, "", name)
    if (depth) {
        if (name == skipping && !empty) depth += closing ? -1 : 1
    } else if ((name in skipped) && !closing) {
        flush_line()
        if (!empty) { skipping = name; depth = 1 }
    } else if (name in block)
        flush_line()
    if (!depth) text = text rest
}
END { flush_line() }
