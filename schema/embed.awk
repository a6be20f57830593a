# embed.awk - turns migrations into a C array: awk -f embed.awk 0001-core.sql … > migrations.c
# SPDX-License-Identifier: GPL-3.0-or-later
BEGIN {
    print "/* made by schema/embed.awk */"
    print "#include \"daemon/store/migrate.h\"\n"
    print "const struct migration migrations[] = {"
}
FNR == 1 {
    if (open) print "    },"
    name = FILENAME
    sub(/.*\//, "", name)
    sub(/\.sql$/, "", name)
    printf "    {.version = %d, .name = \"%s\", .sql =\n", substr(name, 1, 4) + 0, name
    open = 1
    n++
}
{
    gsub(/\\/, "&&")
    gsub(/"/, "\\\"")
    print "     \"" $0 "\\n\""
}
END {
    if (open) print "    },"
    print "};"
    printf "const int n_migrations = %d;\n", n
}
