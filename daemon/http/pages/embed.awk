# embed.awk - turns style.css into the C array page_style. SPDX-License-Identifier: GPL-3.0-or-later
BEGIN { print "#include \"daemon/http/pages/pages.h\"\nconst char page_style[] =" }
{ gsub(/\\/, "\\\\"); gsub(/"/, "\\\""); print "    \"" $0 "\\n\"" }
END { print "    \"\";" }
