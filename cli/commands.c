/* commands.c - the command table: help, completion and the manual page come from it.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/args.h"

#include "cli/cmd.h"

const struct cli_opt cli_common[] = {
    {"format", 'o', "FORMAT", "table, wide, json, csv or name", "table|wide|json|csv|name"},
    {"json", 0, NULL, "the same as -o json: the facility's own answer", NULL},
    {"profile", 0, "NAME", "who you are, see `profile list` (or BEAMTIME_PROFILE)", "@profile"},
    {"quiet", 'q', NULL, "no remarks on standard error", NULL},
    {"help", 'h', NULL, "this text", NULL},
    {0}};

/* What every list takes. */
#define PAGE                                                           \
    {"limit", 0, "N", "at most so many rows (100)", NULL},             \
    {                                                                  \
        "cursor", 0, "CURSOR", "go on where the last list ended", NULL \
    }
#define JOB_FILTERS                                       \
    {"project", 'A', "PROJECT", "of this project", NULL}, \
        {"nation", 0, "NATION", "of this nation", NULL},  \
    {                                                     \
        "mine", 0, NULL, "your own", NULL                 \
    }

static const struct cli_opt of_nation_opts[] = {{"nation", 0, "NATION", "of this nation", NULL},
                                                {0}};

static const struct cli_opt enrol_opts[] = {
    {"url", 0, "URL", "the facility, such as https://beamtime.example:8443", NULL},
    {"ca", 0, "FILE", "its root certificate, from somebody you trust", "@file"},
    {"token-file", 0, "FILE", "the one-time token; standard input without this", "@file"},
    {"public-url", 0, "URL", "where its ledger is read (http://HOST:8080)", NULL},
    {"replace", 0, NULL, "replace a profile of that name", NULL},
    {0}};

static const struct cli_opt submit_opts[] = {
    {"train", 0, "CONFIG", "a training instead of a script: lines `name = value`", "@file"},
    {"coll", 0, "CONFIG", "a benchmark of collective operations", "@file"},
    {"print", 0, NULL, "print the job document and do nothing", NULL},
    {"dry-run", 0, NULL, "ask what would happen and change nothing", NULL},
    {"wait", 'W', NULL, "wait for the end; exit with the job's status", NULL},
    {"follow", 'f', NULL, "the same, and show its log, or a training's progress", NULL},
#define D(name, letter, scope, value, action, help, words, note) {name, letter, value, help, words},
#include "cli/directives.def"
#undef D
    {0}};

static const struct cli_opt list_job_opts[] = {
    {"state", 0, "STATE", "in this state",
     "held|queued|starting|running|finishing|completed|failed|cancelled|timeout"},
    JOB_FILTERS,
    PAGE,
    {0}};
static const struct cli_opt queue_opts[] = {JOB_FILTERS, PAGE, {0}};
static const struct cli_opt cancel_opts[] = {{"reason", 0, "TEXT", "one sentence, published", NULL},
                                             {0}};
static const struct cli_opt log_opts[] = {
    {"follow", 'f', NULL, "go on until the stream is complete", NULL},
    {"stream", 0, "STREAM", "out (the default), err or metrics", "out|err|metrics"},
    {"attempt", 0, "N", "of this attempt (the last)", NULL},
    {0}};
static const struct cli_opt result_opts[] = {
    {"finding", 0, "WORD", "positive, negative, inconclusive or failed",
     "positive|negative|inconclusive|failed"},
    {"title", 0, "TEXT", "one line: what it was about", NULL},
    {"summary", 0, "TEXT", "a paragraph: what came out, and why if nothing did", NULL},
    {"licence", 0, "SPDX", "of what came out, such as Apache-2.0", NULL},
    {"language", 0, "CODE", "that it is about: de, cs, sr-Latn; may be given again", NULL},
    {"evaluation", 0, "NAME[@DATASET]=VALUE", "what was measured; may be given again", NULL},
    {"link", 0, "URL", "https address of a paper, model or report; may be given again", NULL},
    {"file", 0, "FILE", "take members from this JSON object; options stand above them", "@file"},
    {"dry-run", 0, NULL, "show what would be signed, send nothing", NULL},
    {0}};
static const char result_more[] = "A result stays in the ledger for good. It is signed with the "
                                  "key signing.pem of your profile,\n"
                                  "which is made when it is first needed.\n";
static const struct cli_opt quota_show_opts[] = {{"nation", 0, "NATION", "the same as WHO", NULL},
                                                 {0}};
static const struct cli_opt quota_set_opts[] = {
    {"amount", 0, "AMOUNT", "accelerator-hours in all: 40h, 120kh, 1.5Mh", NULL},
    {"from", 0, "TIME", "from this time on", NULL},
    {"until", 0, "TIME", "a date, a time, or 365d from now", NULL},
    {"dry-run", 0, NULL, "show the change; exit 8 if there is one", NULL},
    {"simulate", 0, NULL, "change nothing: replay what ran lately with that quota", NULL},
    {"since", 0, "TIME", "with --simulate: what ran since then, a date or 7d (30d)", NULL},
    {0}};
static const struct cli_opt nation_opts[] = {
    {"name", 0, "NAME", "what it is called", NULL},
    {"state", 0, "STATE", "active, suspended or left", "active|suspended|left"},
    {0}};
static const struct cli_opt institution_opts[] = {
    {"tier", 0, "N", "what it is cleared for: 0 to 4", "0|1|2|3|4"},
    {"until", 0, "TIME", "how long", NULL},
    {0}};
static const struct cli_opt project_opts[] = {
    {"title", 0, "TEXT", "what it is about", NULL},
    {"tier", 0, "N", "what its protocol is cleared for: 0 to 4", "0|1|2|3|4"},
    {"until", 0, "TIME", "how long", NULL},
    {"state", 0, "STATE", "active or closed", "active|closed"},
    {0}};
static const struct cli_opt person_opts[] = {
    {"name", 0, "NAME", "the person's name (never in the ledger)", NULL},
    {"institution", 0, "NAME", "where they work", NULL},
    {"roles", 0, "ROLES", "researcher,lead,nation_admin,operator,council,reviewer", NULL},
    {"state", 0, "STATE", "active or suspended", "active|suspended"},
    {0}};
static const struct cli_opt member_opts[] = {
    {"role", 0, "ROLE", "member (the default) or lead", "member|lead"}, {0}};
static const struct cli_opt clearance_opts[] = {
    {"tier", 0, "N", "0 to 4", "0|1|2|3|4"},
    {"until", 0, "TIME", "a date, a time, or 365d from now", NULL},
    {0}};
static const struct cli_opt request_opts[] = {
    {"tier", 0, "N", "the tier that is needed: 0 to 4", "0|1|2|3|4"},
    {"institution", 0, "NAME", "for an institution instead of yourself", NULL},
    {"project", 0, "PROJECT", "for a project's protocol", NULL},
    {0}};
static const struct cli_opt token_opts[] = {
    {"kind", 0, "KIND", "person (the default), agent, helper or operator",
     "person|agent|helper|operator"},
    {"until", 0, "TIME", "valid until (24 hours)", NULL},
    {"file", 0, "FILE", "write it to this new file, mode 0600, instead of standard output",
     "@file"},
    {0}};
static const struct cli_opt revoke_opts[] = {
    {"spki", 0, "HEX", "one credential, by the SHA-256 of its key", NULL}, {0}};
static const struct cli_opt node_list_opts[] = {
    {"state", 0, "STATES", "only these: up, draining, drained, down", NULL}, PAGE, {0}};
static const struct cli_opt site_list_opts[] = {
    {"tier", 0, "N", "cleared for this tier at least", "0|1|2|3|4"}, {0}};
static const struct cli_opt site_opts[] = {
    {"kind", 0, "KIND", "local or slurm", "local|slurm"},
    {"tier", 0, "N", "what it is cleared for: 0 to 4", "0|1|2|3|4"},
    {"until", 0, "TIME", "how long", NULL},
    {"state", 0, "STATE", "up, draining or removed", "up|draining|removed"},
    {0}};
static const struct cli_opt site_add_opts[] = {
    {"slurm-conf", 0, "PATH", "the cluster's slurm.conf, as the daemon's machine sees it", "@file"},
    {"partition", 0, "NAME", "submit there instead of the default partition", NULL},
    {"account", 0, "NAME", "Slurm's account of all jobs", NULL},
    {"qos", 0, "NAME", "Slurm's quality of service of all jobs", NULL},
    {"user", 0, "NAME", "Unix account of people who are not mapped, uid 1000 or above", NULL},
    {"agent", 0, "PATH", "beamtime-agent on the nodes", NULL},
    {"agent-dir", 0, "PATH", "its state folder there; %n is the node's name", NULL},
    {"blobs", 0, "URL", "where it gives out the files that its agents keep (blob_dir)", NULL},
    {"tier", 0, "N", "what it is cleared for: 0 to 4", "0|1|2|3|4"},
    {"until", 0, "TIME", "how long", NULL},
    {"fence", 0, NULL, "make each project an account of its slurmdbd, with a bound", NULL},
    {"observe", 0, NULL, "only look: start nothing there", NULL},
    {"remote", 0, NULL, "its helper runs at the site (beamtime-agent helper) and calls", NULL},
    {0}};
static const struct cli_opt site_drain_opts[] = {
    {"resume", 0, NULL, "let it take jobs again", NULL}, {0}};
static const struct cli_opt rate_opts[] = {
    {"rate", 0, "R", "reference accelerators that one of it is worth, such as 2.5", NULL},
    {"peak-gflops", 0, "N", "its dense peak", NULL},
    {"from", 0, "TIME", "from this time on (now)", NULL},
    {0}};
static const struct cli_opt guarantee_opts[] = {
    {"accelerators", 0, "N", "how many its jobs may hold at once, by right", NULL},
    {"from", 0, "TIME", "from this time on (now)", NULL},
    {"until", 0, "TIME", "how long (without end)", NULL},
    {0}};
static const struct cli_opt outage_opts[] = {
    {"from", 0, "TIME", "from this time on (now)", NULL},
    {"until", 0, "TIME", "how long", NULL},
    {"kind", 0, "KIND", "maintenance (default), or reserved for something else",
     "maintenance|reservation"},
    {"reason", 0, "TEXT", "why", NULL},
    {0}};
static const struct cli_opt reservation_opts[] = {
    {"nodes", 0, "NODES", "a list with ranges: n[0001-0064],m3", NULL},
    {"from", 0, "TIME", "from this time on (now)", NULL},
    {"until", 0, "TIME", "how long", NULL},
    {"project", 0, "NATION/PROJECT", "for this project's jobs", NULL},
    {"nation", 0, "NATION", "for jobs of all projects of a nation", NULL},
    {"reason", 0, "TEXT", "why", NULL},
    {0}};
static const struct cli_opt dataset_list_opts[] = {{"site", 0, "SITE", "of this site only", NULL},
                                                   {0}};
static const struct cli_opt dataset_add_opts[] = {
    {"site", 0, "SITE", "that holds it", NULL},
    {"path", 0, "PATH", "where it lies there", NULL},
    {"digest", 0, "sha256:HEX", "of its manifest: what two sites call by one name must agree",
     NULL},
    {"bytes", 0, "SIZE", "how large it is, such as 15TB", NULL},
    {0}};
static const struct cli_opt dataset_remove_opts[] = {
    {"site", 0, "SITE", "that no longer holds it", NULL}, {0}};
static const struct cli_opt map_opts[] = {
    {"csv", 0, "FILE", "many: lines PERSON,SITE,ACCOUNT; all of them or none", "@file"}, {0}};
static const struct cli_opt unixmap_opts[] = {
    {"site", 0, "SITE", "at this site", NULL},
    {"user", 0, "NAME", "the Unix account, uid 1000 or above", NULL},
    {0}};
static const struct cli_opt drain_opts[] = {
    {"reason", 0, "TEXT", "why", NULL},
    {"until", 0, "TIME", "when it is expected back", NULL},
    {"down", 0, NULL, "it is broken: end what runs there", NULL},
    {0}};
static const struct cli_opt node_opts[] = {{"tier", 0, "N", "highest tier of jobs: 0 to 4", NULL},
                                           {0}};
static const struct cli_opt measure_opts[] = {
    {"pairs", 0, NULL, "between their leaf switches and all others of their class, by idle nodes",
     NULL},
    {0}};
static const struct cli_opt ledger_list_opts[] = {
    {"from", 0, "INDEX", "from this entry on", NULL},
    {"kind", 0, "KIND", "submit, record, result …",
     "submit|record|result|review|correction|retraction"},
    {"job", 0, "JOB", "of this job", NULL},
    {"nation", 0, "NATION", "of this nation", NULL},
    PAGE,
    {0}};
static const struct cli_opt verify_opts[] = {
    {"record", 0, "INDEX", "one entry only, by its proof; without this the whole ledger", NULL},
    {"files", 0, NULL, "also every published file against its manifest", NULL},
    {"url", 0, "URL", "where the ledger is read (the profile's)", NULL},
    {"dir", 0, "DIR", "a mirror's folder instead", "@dir"},
    {"vkey", 0, "FILE", "the ledger's public key, from somebody you trust", "@file"},
    {"wait", 0, "TIME", "wait so long for a checkpoint that covers the record", NULL},
    {0}};
static const struct cli_opt audit_opts[] = {
    {"subject", 0, "TEXT", "about this person, job (its number or id) or thing", NULL},
    {"since", 0, "SEQ[.ORD]", "after this batch, or this event of it", NULL},
    PAGE,
    {0}};
static const struct cli_opt period_opts[] = {
    {"since", 0, "TIME", "from a date, a time, or 7d ago (30d)", NULL},
    {"until", 0, "TIME", "to a date, a time, or 1d ago (now)", NULL},
    {0}};
static const struct cli_opt status_opts[] = {{0}};

static const char submit_more[] =
    "The script may carry its options as lines `#BEAM --time=12h`; `#SBATCH` lines are read too.\n"
    "A flag wins over #BEAM, which wins over #SBATCH. Without a script it is read from standard\n"
    "input. The job sees BEAM_OUTPUT (published), BEAM_CHECKPOINT (kept between attempts), "
    "BEAM_INPUT,\n"
    "BEAM_SCRATCH, BEAM_METRICS and BEAM_DATASET_…; exit status 85 means \"checkpointed, start me "
    "again\".\n\n"
    "  beamtime submit train.sh\n"
    "  beamtime submit -n 8 --time 2h --train small.conf --input /data/texts --follow\n"
    "  beamtime submit -J hello -- echo hello\n";
static const char map_more[] = "  beamtime person map cz/ana geneva adoe\n"
                               "  beamtime person map --csv accounts.csv\n";
static const char check_more[] =
    "Exit status 1 when something is wrong: jobs would be refused or never start. Advice alone is\n"
    "status 0. What is recommended lies in deploy/slurm.\n";
static const char report_more[] =
    "For a cluster that is only watched: nothing is started, changed or cancelled there.\n\n"
    "  beamtime site add geneva --slurm-conf /etc/slurm/slurm.conf --observe\n"
    "  beamtime site report geneva\n";
static const char amount_more[] =
    "WHO is a nation (cz), a project (cz/multilingual) or a person in it (cz/multilingual/ana).\n";

const struct cli_cmd cli_commands[] = {
    {"enrol", NULL, "", "Turn a one-time token into an identity at a facility", cmd_enrol,
     enrol_opts,
     "The token is read from a file or from standard input, never from the command line.\n", 0, 0,
     0},
    {"renew", NULL, "", "Have your certificate last longer, before it ends", cmd_renew, NULL,
     "For the same key, 90 days from now. A certificate that has ended wants a new token: enrol.\n",
     0, 0, 0},
    {"whoami", NULL, "", "Whom your certificate proves, and what you may do", cmd_whoami, NULL,
     NULL, 0, 0, 0},
    {"profile", "list", "", "Your identities", cmd_profile_list, NULL, NULL, 0, 0, 0},
    {"profile", "use", "NAME", "Make one the default", cmd_profile_use, NULL, NULL, 1, 1, 0},
    {"submit", NULL, "[SCRIPT]", "Submit a script, a training or a command", cmd_submit,
     submit_opts, submit_more, 0, 1, 1},
    {"run", NULL, "", "Submit a command, show what it says, exit as it does", cmd_run, submit_opts,
     NULL, 0, 0, 1},
    {"queue", NULL, "", "Jobs that wait or run", cmd_queue, queue_opts, NULL, 0, 0, 0},
    {"job", "list", "", "All jobs, newest first", cmd_job_list, list_job_opts, NULL, 0, 0, 0},
    {"job", "show", "JOB", "One job by its number or id", cmd_job_show, NULL, NULL, 1, 1, 0},
    {"job", "cancel", "JOBS", "End a job, or those of a range such as 12-111", cmd_job_cancel,
     cancel_opts, NULL, 1, 1, 0},
    {"job", "wait", "JOBS", "Wait for its end; exit with its status", cmd_job_wait, NULL, NULL, 1,
     1, 0},
    {"job", "log", "JOB", "What it printed", cmd_job_log, log_opts, NULL, 1, 1, 0},
    {"job", "curve", "JOB", "A training's loss as a curve, and how well it does by language",
     cmd_job_curve, NULL, NULL, 1, 1, 0},
    {"job", "hold", "JOBS", "Keep a waiting job from starting", cmd_job_hold, NULL, NULL, 1, 1, 0},
    {"job", "release", "JOBS", "Let a held job start", cmd_job_release, NULL, NULL, 1, 1, 0},
    {"explain", NULL, "JOB", "Why a job waits, when it starts, what would start sooner",
     cmd_explain, NULL, NULL, 1, 1, 0},
    {"result", NULL, "JOB", "Publish what came out of a job, signed, failures too", cmd_result,
     result_opts, result_more, 1, 1, 0},
    {"quota", "show", "[WHO]", "What is granted, held, spent and free", cmd_quota_show,
     quota_show_opts, amount_more, 0, 1, 0},
    {"quota", "set", "WHO", "Set what is granted in all", cmd_quota_set, quota_set_opts,
     amount_more, 1, 1, 0},
    {"nation", "list", "", "The nations", cmd_nation_list, NULL, NULL, 0, 0, 0},
    {"nation", "add", "CODE", "Admit a nation", cmd_nation_set, nation_opts, NULL, 1, 1, 0},
    {"nation", "set", "CODE", "Change a nation", cmd_nation_set, nation_opts, NULL, 1, 1, 0},
    {"institution", "list", "", "The institutions", cmd_institution_list, of_nation_opts, NULL, 0,
     0, 0},
    {"institution", "add", "NATION/NAME", "Make an institution", cmd_institution_set,
     institution_opts, NULL, 1, 1, 0},
    {"institution", "set", "NATION/NAME", "Change an institution", cmd_institution_set,
     institution_opts, NULL, 1, 1, 0},
    {"project", "list", "", "The projects", cmd_project_list, of_nation_opts, NULL, 0, 0, 0},
    {"project", "add", "NATION/NAME", "Make a project", cmd_project_set, project_opts, NULL, 1, 1,
     0},
    {"project", "set", "NATION/NAME", "Change a project", cmd_project_set, project_opts, NULL, 1, 1,
     0},
    {"person", "list", "", "The people", cmd_person_list, of_nation_opts, NULL, 0, 0, 0},
    {"person", "add", "NATION/ID", "Make a person", cmd_person_set, person_opts, NULL, 1, 1, 0},
    {"person", "set", "NATION/ID", "Change a person", cmd_person_set, person_opts, NULL, 1, 1, 0},
    {"person", "map", "[PERSON SITE ACCOUNT]", "Whose jobs run as which Unix account of a site",
     cmd_person_map, map_opts, map_more, 0, 3, 0},
    {"member", "add", "PROJECT PERSON", "Let a person work in a project", cmd_member_set,
     member_opts, NULL, 2, 2, 0},
    {"member", "remove", "PROJECT PERSON", "Take a person out of a project", cmd_member_remove,
     NULL, NULL, 2, 2, 0},
    {"clearance", "set", "PERSON", "Set a person's clearance", cmd_clearance_set, clearance_opts,
     NULL, 1, 1, 0},
    {"clearance", "request", "", "Whom to ask for a clearance, and with which command",
     cmd_clearance_request, request_opts, NULL, 0, 0, 0},
    {"token", "new", "SUBJECT", "Make a one-time token that enrols a person or a machine",
     cmd_token_new, token_opts, "SUBJECT is NATION/ID for a person, a node's name for an agent.\n",
     1, 1, 0},
    {"credential", "revoke", "[PERSON]", "End a person's credentials now", cmd_credential_revoke,
     revoke_opts, NULL, 0, 1, 0},
    {"site", "list", "", "The sites and their nodes", cmd_site_list, site_list_opts, NULL, 0, 0, 0},
    {"site", "add", "SITE", "Put a Slurm cluster under the facility", cmd_site_add, site_add_opts,
     NULL, 1, 1, 0},
    {"site", "show", "SITE", "A site, and whether its cluster answers", cmd_site_show, NULL, NULL,
     1, 1, 0},
    {"site", "check", "SITE", "What is wrong with a cluster's own settings, with what mends it",
     cmd_site_check, NULL, check_more, 1, 1, 0},
    {"site", "diff", "SITE", "Where cluster and facility disagree, with the fix", cmd_site_diff,
     NULL, NULL, 1, 1, 0},
    {"site", "report", "SITE", "Starts that would have been promised, beside those of Slurm",
     cmd_site_report, NULL, report_more, 1, 1, 0},
    {"site", "drain", "SITE", "Start nothing more there", cmd_site_drain, site_drain_opts, NULL, 1,
     1, 0},
    {"site", "remove", "SITE", "Let go of a site where nothing runs", cmd_site_remove, NULL, NULL,
     1, 1, 0},
    {"site", "set", "SITE", "Make or change a site", cmd_site_set, site_opts, NULL, 1, 1, 0},
    {"rate", "list", "", "What an accelerator of each class costs", cmd_rate_list, NULL, NULL, 0, 0,
     0},
    {"rate", "set", "CLASS", "Set a class's rate", cmd_rate_set, rate_opts, NULL, 1, 1, 0},
    {"guarantee", "list", "", "What nations may hold at once, by right", cmd_guarantee_list, NULL,
     NULL, 0, 0, 0},
    {"guarantee", "set", "NATION", "Guarantee a nation accelerators", cmd_guarantee_set,
     guarantee_opts, "Within it its jobs start before lent ones, which are stopped if they must.\n",
     1, 1, 0},
    {"outage", "list", "", "Nodes out of use for a time", cmd_outage_list, NULL, NULL, 0, 0, 0},
    {"outage", "add", "NODES", "Plan a maintenance or a reservation", cmd_outage_add, outage_opts,
     "NODES is a list with ranges: n[0001-0064],m3. Jobs are planned around it.\n", 1, 1, 0},
    {"outage", "end", "ID", "Call it off, or end it now", cmd_outage_end, NULL, NULL, 1, 1, 0},
    {"reservation", "list", "", "Nodes kept for the jobs of projects and nations",
     cmd_reservation_list, NULL, NULL, 0, 0, 0},
    {"reservation", "add", "NAME", "Keep nodes for a project's jobs that name it",
     cmd_reservation_add, reservation_opts,
     "Nobody else's jobs are planned there in that time. Jobs ask for it with --reservation NAME,\n"
     "are planned inside it only, and must end before it does.\n",
     1, 1, 0},
    {"reservation", "show", "NAME", "One of them", cmd_reservation_show, NULL, NULL, 1, 1, 0},
    {"reservation", "remove", "NAME", "Call it off, or end it now", cmd_reservation_remove, NULL,
     "Its jobs that run go on; those that wait are planned like any other.\n", 1, 1, 0},
    {"dataset", "list", "", "Data sets and the sites that hold them", cmd_dataset_list,
     dataset_list_opts, NULL, 0, 0, 0},
    {"dataset", "add", "NAME", "Say that a site holds a data set", cmd_dataset_add,
     dataset_add_opts,
     "Jobs that ask for it with --dataset NAME run only at sites that hold it, and find its path\n"
     "there in BEAM_DATASET_NAME (upper case, other characters as _).\n",
     1, 1, 0},
    {"dataset", "remove", "NAME", "Say that a site no longer holds it", cmd_dataset_remove,
     dataset_remove_opts, "Jobs that run go on; those that wait do so until some site holds it.\n",
     1, 1, 0},
    {"unixmap", "set", "PERSON", "Whose jobs run as which Unix account", cmd_unixmap_set,
     unixmap_opts, NULL, 1, 1, 0},
    {"node", "list", "", "The nodes", cmd_node_list, node_list_opts, NULL, 0, 0, 0},
    {"node", "summary", "", "The nodes counted by state, their names folded", cmd_node_summary,
     NULL, NULL, 0, 0, 0},
    {"node", "show", "NODE", "One node with its inventory", cmd_node_show, NULL, NULL, 1, 1, 0},
    {"node", "measure", "NODES", "Have them run their collective benchmark", cmd_node_measure,
     measure_opts, "NODES is a list with ranges. node show tells what came out.\n", 1, 1, 0},
    {"node", "drain", "NODES", "Start nothing more there", cmd_node_drain, drain_opts,
     "NODES is a list with ranges: n[0001-0064],m3.\n", 1, 1, 0},
    {"node", "resume", "NODES", "Let them work again", cmd_node_resume, NULL, NULL, 1, 1, 0},
    {"node", "set", "NODES", "Bound the tier of jobs that they take", cmd_node_set, node_opts,
     "For an enclave inside a site, or nodes left out of one: a node takes what its site is "
     "cleared\n"
     "for, and nothing above its own tier (4 until it is set).\n",
     1, 1, 0},
    {"ledger", "list", "", "Entries of the ledger", cmd_ledger_list, ledger_list_opts, NULL, 0, 0,
     0},
    {"ledger", "show", "INDEX", "One entry", cmd_ledger_show, NULL, NULL, 1, 1, 0},
    {"ledger", "verify", "", "Check the ledger from outside, with its public key alone",
     cmd_ledger_verify, verify_opts, NULL, 0, 0, 0},
    {"status", NULL, "", "The facility at a glance", cmd_status, status_opts, NULL, 0, 0, 0},
    {"report", "fairness", "", "What each nation could claim, used, lent and borrowed",
     cmd_report_fairness, period_opts,
     "Lent is what of its guarantee a nation's own jobs left; borrowed, what they held beyond "
     "it.\n",
     0, 0, 0},
    {"report", "promises", "", "How many starts kept what was promised", cmd_report_promises,
     period_opts, NULL, 0, 0, 0},
    {"policy", NULL, "", "The rules in force", cmd_policy, NULL, NULL, 0, 0, 0},
    {"audit", NULL, "", "What was done by whom", cmd_audit, audit_opts, NULL, 0, 0, 0},
    {"version", NULL, "", "The version of this program", cmd_version, NULL, NULL, 0, 0, 0},
    {"completion", NULL, "bash|zsh|man", "Completion for a shell, or the manual page",
     cmd_completion, NULL, NULL, 1, 1, 0},
    {0}};
