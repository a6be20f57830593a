# queries.awk - turns named statements into Q(name, "text") lines for queries.c:
#   awk -f queries.awk write.sql load.sql … > queries.def
# A statement begins at `-- name: NAME` and ends before the next one; other comments are dropped.
# SPDX-License-Identifier: GPL-3.0-or-later
function close_last() { if (open) print "\"\")" }
/^-- name: / {
    close_last()
    name = $3
    if (name !~ /^[a-z0-9_]+$/ || name in seen) {
        print FILENAME ":" FNR ": bad or repeated name " name > "/dev/stderr"
        exit 1
    }
    seen[name] = 1
    printf "Q(%s, ", name
    open = 1
    next
}
/^[ \t]*--/ || /^[ \t]*$/ { next }
!open { print FILENAME ":" FNR ": text before the first name" > "/dev/stderr"; exit 1 }
{
    gsub(/\\/, "&&")
    gsub(/"/, "\\\"")
    print "\"" $0 "\\n\""
}
END { close_last() }
