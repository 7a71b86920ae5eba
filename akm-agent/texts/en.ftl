# What akm says to a person, in English. zh.ftl has the same ids and variables.
#
# An id says what is said, not where; families that code composes: outcome-TOKEN, status-TOKEN.
# col-… is the head of a column, field-… the name before a value, ask-… a question, hint-… a next step.
# Sentences after "error:" and "hint:" are lower case without a full stop.

## Frames

error = error: { $message }
error-of-field = error: { $field }: { $message }
hint = hint: { $step }
yes = yes
no = no

## Next steps

hint-wait = wait { $seconds } s and try again
hint-no-agent = run akm unlock, or akm init on a new machine
hint-unlock = run akm unlock
hint-init = run akm init
hint-path = check the path, and the space on its disk
hint-credentials = check the account, the passphrase and the code, and try again
hint-corrupt = run akm doctor; akm backup list shows what can be restored
hint-vault-damaged = run akm backup list, then akm backup restore NAME --replace: the damaged file is kept beside the vault
vault-damaged = the vault file is damaged and cannot be opened
hint-version = use the version of akm that wrote the vault, or a newer one
hint-again = try again, and run akm doctor if it stays
hint-doctor = run akm doctor to see the files akm uses

## Dashboard

ui-opened = the dashboard opens in your browser; if it does not:
ui-link = the link is good once, for { $seconds } s, for programs of your own user

## Session: unlock, lock, status

ask-passphrase = passphrase:{" "}
ask-code = code of your authenticator:{" "}
code-needed = this account needs a code as well
unlocked = { $account } is unlocked
unlocked-until = { $account } is unlocked until { $time }
locked = locked
no-account-yet = no account yet
init-elsewhere = { $known ->
    [one] warning: this machine has seen an account of another vault; if that was here, akm backup list shows what can be restored
   *[other] warning: this machine has seen { $known } accounts of another vault; if that was here, akm backup list shows what can be restored
}
vault-first-use = note: this machine sees the vault for the first time; an older copy of it would not have been noticed
vault-restored = note: a backup was restored; it counts as the newest from now on
vault-rollback-accepted = warning: an older or changed vault was accepted; rotated keys may have their old secrets, removed ones may be back
field-state = state
field-agent = agent
field-vault = vault
field-code-asked = code asked for

## Export and import

ask-file-passphrase = passphrase of the file:{" "}
export-json-needs-file = with --json an export goes to a file
export-not-to-terminal = a sealed file is not for a terminal
exported-sealed = { $count ->
    [one] { $count } key is exported, sealed
   *[other] { $count } keys are exported, sealed
}
exported-in-clear = { $count ->
    [one] { $count } key is exported, in clear
   *[other] { $count } keys are exported, in clear
}
export-policy-asks = the policy is not open for this program: the account's passphrase comes first, then the one of the file
export-left-use-only = left out, because they are use-only: { $names }
export-left-confirm = left out, because they are handed out only after a question (--confirm): { $names }
export-left-burned = left out, because they are burned: { $names }
export-unreadable = left out, because they do not open: { $names }
export-left-out = left out: { $names }
hint-left-out = they leave with --use-only, sealed and with the account's passphrase
imported = { $count ->
    [one] { $count } key is stored
   *[other] { $count } keys are stored
}
import-would = { $count ->
    [one] { $count } key would be stored
   *[other] { $count } keys would be stored
}
import-ignored = { $count ->
    [one] { $count } thing in the file is no key and was passed over
   *[other] { $count } things in the file are no keys and were passed over
}
import-refused = { $count ->
    [one] { $count } key cannot be stored, so none was
   *[other] { $count } keys cannot be stored, so none was
}
hint-import-refused = mend the file, or leave existing keys alone with --skip-existing
field-checksum = checksum
handover-code = good for one hand-over, until { $date } or until this session is locked
hint-handover-code = on the other server: akm account send CODE -o FILE, then here: akm account receive FILE
handover-left-out = left out, because they are burned: { $names }
hint-handover-sent = only who made the code can open the file: take it there, akm account receive FILE
handover-received = { $count ->
    [one] { $count } key is stored, { $unchanged } were there
   *[other] { $count } keys are stored, { $unchanged } were there
}
handover-differing = there with other properties than were sent: { $names }
hint-handover-refused = rename or remove these keys at one end; as long as the code is good, send and receive again
hint-handover-compare = compare number and checksum with what akm account send said before you remove the keys there
hint-import-in-clear = the file still holds the secrets in clear: remove it
import-stdin-twice = stdin cannot be the file and the passphrase
import-added = added
import-unchanged = unchanged
import-skipped = skipped
import-conflict = conflict
import-invalid = invalid
col-import-outcome = OUTCOME
col-import-detail = WHY
## Backups

backup-made = backup made and verified, { $size }; { $decrypted ->
    [one] 1 key in it decrypted
   *[other] { $decrypted } keys in it decrypted
}
backup-made-structure = backup made, structure verified, { $size }; of a locked vault nothing is decrypted
backup-removed = removed { $name }
backup-directory = in { $directory }
backup-decrypted = whole, { $decrypted } of its keys decrypted: { $accounts } accounts, { $keys } keys
backup-structure = structure verified, nothing decrypted: { $accounts } accounts, { $keys } keys
ask-backup-passphrase = passphrase when the backup was made:{" "}
backup-restored = restored: { $accounts } accounts, { $keys } keys
backup-kept = the vault as it was is kept beside it as { $name }
hint-after-restore = run akm unlock, then akm totp codes: recovery codes of before are void
backup-no-schedule = no schedule
backup-schedule = every day while the agent runs; { $keep } are kept
backup-schedule-days = every day while the agent runs; { $keep } are kept, at most { $days } days
col-made = MADE
col-size = SIZE
col-vault = VAULT
vault-this = this
vault-other = other
hint-backup-create = run akm backup create
hint-backup-schedule = akm backup schedule --daily makes one every day
hint-backup-unlock = after akm unlock, keys in it are decrypted as well
## Keyfile

keyfile-enabled = the account opens only together with { $path } from now on
keyfile-disabled = the passphrase alone opens the account from now on
hint-keyfile-copy = keep a copy of the file: without it only a recovery code opens the account; older copies of the vault open without it
hint-keyfile-stays = the file stays: backups from before need it
field-keyfile-needed = keyfile needed
field-kept-in = kept in
## Accounts: init, account, totp

ask-new-passphrase = new passphrase:{" "}
ask-current-passphrase = current passphrase:{" "}
ask-again = the same again:{" "}
ask-recovery-code = recovery code:{" "}
ask-first-code = code of your authenticator (empty: later):{" "}
account-created = account { $account } is created and unlocked
passphrase-changed = the passphrase is changed
recovered =
    { $codes ->
        [one] { $account } has a new passphrase and is unlocked; 1 recovery code is left
       *[other] { $account } has a new passphrase and is unlocked; { $codes } recovery codes are left
    }
recovery-codes = Recovery codes: each replaces the passphrase once. Keep them away from this machine.
totp-secret = TOTP secret:{" "}
totp-uri = TOTP URI:{" "}
totp-on = unlocking asks for a code from now on
totp-off = unlocking asks for no code from now on
totp-pending = TOTP is pending: unlocking asks for no code yet
totp-confirmed = TOTP is confirmed: unlocking asks for a code from now on
hint-confirm-later = run akm totp confirm CODE when your authenticator shows one

## The agent

agent-runs = the agent runs (pid { $pid })
agent-stopped = the agent is stopped (pid { $pid })

## Keys

ask-secret = secret of the key:{" "}
ask-secret-of = secret of { $name }:{" "}
ask-new-secret = new secret:{" "}
ask-remove = remove { $name } and its history? [y/N]{" "}
nothing-removed = nothing is removed
changed-stored = { $name } ({ $preview }) is stored
changed-edited = { $name } ({ $preview }) is changed
changed-renamed = { $name } ({ $preview }) is its name now
changed-removed = { $name } ({ $preview }) is removed
changed-disabled = { $name } ({ $preview }) is switched off
changed-enabled = { $name } ({ $preview }) is switched on
changed-rotated = { $name } ({ $preview }) has a new secret
current = current
list-unreadable = { $count ->
    [one] 1 key does not open and is not in the list: { $ids }
   *[other] { $count } keys do not open and are not in the list: { $ids }
}
no-keys = no keys
no-events = no events
use-only = use only
field-name = name
field-status = status
field-secret = secret
field-version = version
field-model = model
field-categories = categories
field-variable = variable
field-use-only = use only
field-confirm = asks each time
field-address = address
field-hosts = hosts
field-created = created
field-changed = changed
field-last-used = last used
field-expires = expires
field-notes = notes
col-name = NAME
col-version = VERSION
col-secret = SECRET
col-stored = STORED
col-replaced = REPLACED
col-status = STATUS
col-model = MODEL
col-categories = CATEGORIES
col-expires = EXPIRES
col-last-used = LAST USED

## The log

col-chain = CHAIN
col-seq = SEQ
col-time = TIME
col-action = ACTION
col-account = ACCOUNT
col-key = KEY
col-outcome = OUTCOME
col-caller = CALLER
caller = { $exe } (pid { $pid }, uid { $uid })
log-whole =
    { $events ->
        [one] 1 event, authentic
       *[other] { $events } events, all authentic and in order
    }
log-bad-event = event { $event } of the { $chain } chain is not what was written
log-bad-chain = the { $chain } chain is not what was written
hint-log-bad = the vault or its journal was changed outside akm: compare with a backup
hint-log-more = there is more: akm log --after { $cursor }
checkpoint-holds = everything of the checkpoint of { $time } is there
checkpoint-truncated = events are missing that were there at the checkpoint of { $time }
checkpoint-forked = the log is another one than at the checkpoint of { $time }
checkpoint-unknown = whether the checkpoint of { $time } holds cannot be told: the log breaks before it
since-forms = give 2026-01-31, an RFC 3339 time, 30m, 8h or 7d

## Connection tests

col-took = TIME
col-models = MODELS
col-detail = DETAIL
testing = testing

## Where secrets come from

no-terminal-for-passphrase = a passphrase is needed and there is no terminal to ask on
hint-passphrase-flags = give --passphrase-stdin or --passphrase-fd N, or set AKM_ASKPASS to a program that asks
no-terminal-for-secret = a secret is needed and there is no terminal to ask on
hint-secret-stdin = give --secret-stdin and the secret as one line
bad-descriptor = the descriptor of --passphrase-fd cannot be read

## Usage

usage-unknown-flag = unknown flag { $flag }
usage-too-many = there is an argument too many
usage-no-command = there is no such command
usage-value-missing = a value is missing for { $flag }
usage-bad-value = the value is not one for { $flag }
usage-bad-value-because = the value is not one for { $flag }: { $reason }
usage-not-a-number = a whole number is expected
usage-number-too-large = the number is too large
usage-nothing-named = nothing to do is named
usage-missing = { $what } is missing
usage-something-missing = something is missing
usage-exclude = { $flag } and { $other } exclude each other
usage-once = only once: { $flag }
usage-count = the number of values is wrong for { $flag }
usage-not-utf8 = an argument is not UTF-8
usage-unclear = the command line cannot be understood
hint-one-of = one of { $values }
hint-did-you-mean = did you mean { $similar }?

## The doctor

col-what = WHAT
col-found = FOUND
hint-of = { $what }: { $step }
doctor-ok = ok
doctor-bad = BAD
doctor-absent = { $path }, not there yet
doctor-unreadable = { $path }, { $error }
doctor-file = { $path }, mode { $mode }, uid { $uid }, { $size } bytes
doctor-symlink = { $path }, a symlink
doctor-linked = { $path } has a second name: a hard link
doctor-no-socket = { $path }, not a socket
doctor-not-running = not running
doctor-answers = answers in { $time }
doctor-version = { $agent }, this is { $this }
doctor-clock-behind = { $now }, the vault was written { $seconds } s later
doctor-keys = { $seen } checked, all as they were last written
doctor-keys-bad = { $seen } checked; missing { $missing }, older than last written { $older }, not akm's { $foreign }, damaged { $unreadable }
doctor-keys-broken = the vault's own record of them is damaged or not the newest
hint-rolled-back = restore a newer backup, or akm unlock --accept-rollback to go on with what is there
doctor-accounts-missing = { $missing } that this machine has seen, missing from the vault
hint-accounts-missing = restore a backup with akm backup restore, or move the vault's file away to begin anew
hint-missing = an account is missing from the vault: run akm doctor
hint-damaged = some keys are missing or older than they were: run akm doctor
doctor-boot = { $seconds } s, of which suspended { $suspended } s
doctor-no-boot-clock = no clock that counts suspended time
doctor-reach = a program beside it: ptrace { $ptrace }, memory { $memory }, environment { $environ }
doctor-allowed = allowed
doctor-refused = refused
doctor-no-core = an agent that aborts leaves none; the system's pattern is { $pattern }
doctor-core = an agent that aborts leaves one, by the pattern { $pattern }
doctor-no-swap = none
doctor-swap = on { $places }
doctor-locked = up to { $limit } may be locked
doctor-locked-agent = the agent has { $held } KiB, up to { $limit } may be locked
doctor-agent-user = { $name }, uid { $uid }
doctor-open-to-all = everybody may try
doctor-open-to-group = members of { $group }
doctor-open-to-owner = uid { $uid } alone
doctor-calls-agent = what is never needed is refused to the agent
doctor-calls = what is never needed is refused to an agent here
doctor-calls-not = the agent that runs may call everything
doctor-no-calls = this kernel takes no filter
doctor-files = whoever asks a provider writes nothing
doctor-files-part = whoever asks a provider is bound in part: this kernel is older
doctor-no-files = this kernel has no Landlock
doctor-no-privileges = the agent has none, and can get none
doctor-privileges = the agent has privileges of root
doctor-new-privileges = the agent can get new ones
doctor-kernel = { $release }, callers are known for sure
doctor-kernel-old = { $release }, a caller's number could be another's by the time it is looked up
hint-reach-root = root may look into everything: run this as the user
hint-reach-plain = what you start, and the keys given to it, can be read by your other programs; sysctl kernel.yama.ptrace_scope=1 raises it
hint-reach-agent = this system lets your programs read the agent: run it as a user of its own, akm doctor --setup-system
hint-core = the system keeps core files although the limit is 0
hint-swap = secrets on their way through are not locked in memory: encrypt the swap, or use zram
hint-locked = keys could reach swap: raise ulimit -l to 8192
hint-agent-user = your programs can ask it for keys as you do; akm doctor --setup-system makes it a user of its own
hint-agent-other-user = it cannot see which program asks, so grants cover nobody: under the policies ask and granted no key is handed out
hint-no-calls = Linux 3.17 or later, with seccomp, on x86-64, aarch64 or riscv64
hint-no-files = Linux 6.12 or later, with landlock in the list of lsm= at boot
hint-privileges = run it as a user, not as root
hint-kernel-old = Linux 6.5 or later
hint-mode-directory = chmod 0700, and look whether others put files there
hint-mode-file = chmod 0600: others can read or write it
hint-directories-above = look at the directories above it
hint-symlink = akm follows no symlink to its files
hint-linked = remove the other name, or copy the file and put the copy in its place
hint-other-user = it belongs to another user
hint-no-socket = something else stands where the agent listens
hint-unlock-starts = akm unlock starts it
hint-agent-again = akm agent stop, then akm unlock
hint-agent-version = akm agent stop, then akm unlock starts this version
hint-other-vault = the agent holds another vault than this environment names
hint-clock = set the clock: codes of an authenticator depend on it
hint-no-boot-clock = lifetimes end at once on this system

## The clipboard

copied = { $name } is on the clipboard, which is cleared in { $seconds } s
copied-to-terminal = { $name } is handed to the clipboard of the terminal
hint-copied-to-terminal = akm cannot clear that one: copy something else when you have pasted
no-clipboard = there is no display, and stdout is not a terminal that has a clipboard
hint-no-clipboard = run akm copy in a terminal, or use akm get

## The demo

demo-intro = akm demo: a key goes in, and programs get it. Everything happens in a temporary home.
demo-done = { $steps } steps did what they say, { $skipped } skipped. The temporary home and its agent are gone.
demo-left-behind = something is left behind: { $what }
demo-gone = the temporary home and its agent are gone
demo-interrupted = interrupted
demo-failed = FAILED: { $why }
demo-skipped = skipped: { $why }
demo-more = … { $count } lines more
demo-no-server = no server on loopback: { $error }
demo-no-stage = the demo cannot begin: { $error }
demo-init = The vault is created, its agent started, and an authenticator set up
demo-init-done = { $codes } recovery codes, TOTP secret { $secret }, confirmed with the code { $code } computed from it
demo-no-totp = akm init printed no TOTP secret
demo-no-codes = akm init printed no recovery codes
demo-bad-totp = the TOTP secret is not one
demo-add = A key is added
demo-add-others = One that the provider refuses, and one that asks too often
demo-printed = { $command } printed a secret
demo-list = What is in the vault
demo-list-wrong = akm ls shows { $keys } keys
demo-test = Every key is tested against its provider
demo-verdict = { $name } should be { $verdict }
demo-few-requests = the server saw { $count } requests only
demo-tested = as it should be; the providers answered { $count } requests
demo-lock = The agent is locked and forgets its keys
demo-unlock = Unlocked again, with passphrase and code, to read the log
demo-log = Who asked for what
demo-log-gets = { $fetched } programs got the key and the log knows of { $known }
demo-log-lacks = the log knows of no { $action }
demo-log-done = every one of the { $count } fetches is there
demo-verify = Nothing in the log was changed, moved or taken out
demo-stop = The agent is stopped
demo-ended = { $what } ended with { $code } and not with { $wanted }
demo-building = the first time takes a minute or two …
demo-by-akm = the command line
demo-by-rust = a Rust program
demo-by-python = a Python program
demo-by-node = a Node program
demo-build-c = The C library is built
demo-build-rust = The Rust example is built
demo-build-node = Node gets koffi, which calls C libraries
demo-registry = from the package registry, if it is not there yet …
demo-koffi-there = koffi is there already
demo-koffi-installed = koffi is installed
demo-build-failed = { $what } failed:
demo-built-else = cargo built something else
demo-no-checkout = not in a checkout of akm
demo-no-file = { $path } is not in this checkout
demo-no-tool = { $name } is not installed
demo-fetch = The key is fetched by { $who }
demo-fetched = { $preview }, the key that was added
demo-refuse = Now { $who } is refused
demo-http = the agent answered HTTP { $status }
demo-other-key = what came is not the key that was added
demo-came-out = the key came out of a locked agent
demo-stdout = something came on stdout
demo-exit-3 = exit code 3: { $said }
demo-cannot-run = { $program } cannot be run: { $error }
demo-silent = a program does not answer
demo-endless = a program did not end in time
demo-home-stays = the temporary home is still there
demo-process-stays = a process of the demo cannot be ended

## Running commands

need-missing = missing
col-state = STATE
hint-add = run akm add { $name }
hint-enable = run akm enable { $name }
hint-rotate = run akm rotate { $name }
hint-no-use-only = run akm edit { $name } --no-use-only

## Tokens

status-active = active
status-disabled = disabled
status-expired = expired
status-burned = burned
outcome-valid = valid
outcome-valid-restricted = valid restricted
outcome-invalid = invalid
outcome-no-permission = no permission
outcome-out-of-credit = out of credit
outcome-rate-limited = rate limited
outcome-unreachable = unreachable
outcome-unverifiable = unverifiable
kind-locked = locked
kind-wrong-credentials = wrong credentials
kind-not-found = not found
kind-conflict = conflict
kind-denied = denied
kind-limit-reached = limit reached
kind-rate-limited = rate limited
kind-invalid-input = invalid input
kind-corrupt = corrupt
kind-rolled-back = rolled back
kind-unsupported-version = unsupported version
kind-unavailable = unavailable
kind-provider = provider
kind-io = io
kind-internal = internal
kind-no-agent = no agent
kind-timeout = timeout
kind-closed = closed
kind-forked = forked
chain-account = account
chain-system = system
checked-akm = akm
checked-vault-directory = vault directory
checked-vault = vault
checked-journal = journal
checked-configuration = configuration
checked-state = state
checked-host-key = host key
checked-socket = socket
checked-agent = agent
checked-agent-version = agent version
checked-agents-vault = agent's vault
checked-session = session
checked-keys = keys
checked-accounts = accounts
checked-clock = clock
checked-time-since-boot = time since boot
checked-agents-memory = agent's memory
checked-your-programs = your programs
checked-core-dumps = core dumps
checked-swap = swap
checked-locked-memory = locked memory
checked-agents-user = agent's user
checked-who-may-connect = who may connect
checked-system-calls = system calls
checked-files = files
checked-privileges = privileges
checked-kernel = kernel

## Balance

col-available = AVAILABLE
col-unit = UNIT
col-used = USED
col-total = TOTAL
col-of = OF
col-remark = REMARK
balance-of-account = account
balance-of-key = this key
balance-of-plan = plan
balance-kind-prepaid = prepaid
balance-kind-quota = comes back each period
balance-kind-spend = spent
balance-unlimited = unlimited
balance-low = below { $threshold }
balance-uncompared = not compared with { $threshold }
balance-uncompared-why = not compared with { $threshold }: { $why }
balance-owed = { $amount } owed
balance-spent-since = spent since { $time }
balance-left-out = { $count ->
    [one] { $count } key of a provider without a balance is left out
   *[other] { $count } keys of providers without a balance are left out
 }
field-low-balance = low balance
field-team = team
## Providers and models

col-provider = PROVIDER
col-variable = VARIABLE
col-test = TEST
col-default-model = DEFAULT MODEL
col-category = FOR
col-context = CONTEXT
col-price-in = INPUT/M
col-price-out = OUTPUT/M
col-currency = CURRENCY
col-marks = MARKS
test-free = free
test-costs = may cost a token
test-proves-nothing = proves nothing
provider-active = active
provider-uncertain = uncertain
provider-retired = retired
category-chat = chat
category-code = code
category-reasoning = reasoning
category-vision = vision
category-long-context = long context
category-economy = economy
category-embedding = embedding
category-image = image
category-audio = audio
category-rerank = rerank
category-search = search
unknown = unknown
mark-default = default
mark-unlicensed = model-bank only
mark-unverified = unverified
mark-retires = retires { $date }
no-models = no models
models-as-of = { $count } models; prices for a million tokens, as of { $date }
models-installed = { $count } models installed
models-reset = the built-in models count again

## Providers of one's own

no-terminal-to-ask = there is no terminal to ask on
provider-needs-name = a provider needs a name
provider-added = { $name } is added; akm add { $name } stores a key of it
provider-removed = { $name } is removed; its keys stay, sealed for the hosts they were added for
ask-provider-rm = remove the provider { $name }? [y/N]{" "}
ask-provider-name = name, as in names of keys (my-gateway):{" "}
ask-provider-address = address (https://gw.example.com/v1, or http://127.0.0.1:PORT):{" "}
ask-provider-auth = how a request carries the key: bearer, or header:NAME [bearer]:{" "}
ask-provider-test-path = what a test asks for, from the root of the host [models below the address]:{" "}
ask-provider-proves = does that answer a valid key only? [y/N]{" "}
ask-provider-variable = variable that akm run sets [{ $standard }]:{" "}
## Tests

col-tested = TESTED
field-tested = tested
left-out-retired = left out: { $name }, whose provider is retired
left-out-costs = left out: { $name }, whose test may cost money
hint-name-left-out = run akm test NAME to test one of them all the same
## A command and its keys

not-masked = note: { $name } has less than { $least } characters and is not masked in the output
cannot-run = the command cannot be run
left-out-use-only = note: { $name } is use-only and is left out
left-out-disabled = note: { $name } is disabled and is left out
left-out-expired = note: { $name } has expired and is left out
left-out-burned = note: { $name } is burned and is left out
preferred-taken-away = note: the command does not get { $name }, which its programs would take rather than { $instead }
left-out-no-variable = note: { $name } has no variable and is left out; akm edit --env gives it one
need-ok = ok

## Administration: admin, account sessions

col-role = ROLE
col-keys = KEYS
col-limit = LIMIT
col-sessions = SESSIONS
col-totp = TOTP
col-disabled = DISABLED
col-id = ID
col-current = THIS ONE
col-from = FROM
session-here = this machine
sessions-ended = ended
admin-granted = { $account } is an administrator
admin-revoked = { $account } is a user
account-disabled = { $account } is disabled: its sessions over the network ended, and nobody signs in there
account-enabled = { $account } is enabled
account-limited = { $account } may have { $limit } keys
account-unlimited = { $account } has no limit of keys from an administrator
invitation-made = good for { $uses } until { $time }; it is shown once
hint-admin-log-more = there is more: akm admin log --after { $cursor }
## Rekey

rekey-goes-on = a rekey is under way: it goes on
rekey-codes = the recovery codes of before are void
rekey-done = the account has new keys; { $keys ->
    [one] one key is
   *[other] { $keys } keys are
 } sealed under them
rekey-progress = under way: { $done } of { $total }
field-rekey = rekey
codes-undelivered = warning: the recovery codes you have are void, and the new ones were lost with the answer of akm vault rekey
hint-codes-undelivered = run akm totp codes for new ones
hint-rekey-goes-on = nothing is lost: it goes on with akm vault rekey, or by itself after the next unlock

## Questions of the agent: may this program have a key?

confirm-question = akm: may this program have { $key }?
confirm-question-change = akm: may this program change { $key }?
confirm-question-beside = akm: may this program change what the vault keeps?
confirm-operation = {"  "}wants:      { $op }
confirm-program = {"  "}program:    { $program }
confirm-script = {"  "}script:     { $script }
confirm-directory = {"  "}directory:  { $directory }
confirm-parents = {"  "}started by: { $parents }
confirm-known = {"  "}known as:   { $names }
confirm-container = {"  "}container:  { $name }
confirm-traced = {"  "}warning:    a debugger holds the program
confirm-environment = {"  "}warning:    a variable of its environment loads code into the program
confirm-namespace = {"  "}warning:    the program lives in a user namespace of its own
confirm-unreadable = {"  "}warning:    the program cannot be looked at
confirm-because-key = {"  "}reason:     the key is confirmed at each use
confirm-because-policy = {"  "}reason:     no grant covers the program
confirm-because-learning = {"  "}reason:     first use; a yes grants it the key from now on
confirm-unknown = unknown
confirm-inline = code that is in no file
confirm-answer-askpass = Answer yes, or yes and a time: yes 10m
confirm-answer-terminal = yes, yes 10m (the same for ten minutes), or no:{" "}
confirm-too-late = nobody answered in time: that is a no
confirm-withdrawn = the vault was locked meanwhile: no answer is needed any more

## Grants and policies

granted = { $what } is granted to { $who }
grant-removed = { $what } is no longer granted to { $who }
no-grants = no grants
every-key = every key
grant-learns = (asks at the first use)
grant-under = under { $directory }
grant-via = below { $name }
grant-until = { $grant }, until { $time }
grants-here = { $count ->
    [0] none
   *[other] { $count }, of which for this program: { $covering }
}
hint-grant-any-script = this grant is good for every script of the program; --script names one
hint-grant-open = the policy is open, so every program may have the key anyway: run akm policy set ask, or granted
field-policy = programs
field-policy-agents = below coding agents
field-policy-sandboxes = below sandboxes
policy-open = open: any program of yours may
policy-ask = ask: a person is asked
policy-granted = granted: only with a grant

## Status: why it is locked, and what asked last

locked-because = locked ({ $reason })
lock-asked = asked for
lock-lifetime = its time was over
lock-idle = not used for a while
lock-suspend = the machine was suspended
lock-screen = the screen was locked
lock-signal = the agent got SIGUSR1
lock-stop = the agent ended
lock-unlock = unlocked again
lock-credential = a passphrase or another way in was changed
lock-restore = a backup was restored
agent-of = { $version } (pid { $pid })
asked-by = { $what } by { $exe } (pid { $pid }) at { $time }: { $outcome }
field-since = since
field-idle = locks when idle
field-last-asked = last asked
field-policy-here = policy
field-grants = grants
field-lifetime = lifetime

## Tiers and orders

col-tier = TIER
col-tier-name = NAME
col-price = A MONTH
col-most-keys = KEYS
col-most-providers = PROVIDERS
col-most-requests = REQUESTS A MINUTE
col-order = ORDER
col-order-state = STATE
col-months = MONTHS
col-amount = AMOUNT
col-paid-at = PAID
col-order-note = LOOK AT
field-tier = tier
field-tier-state = state
field-keys = keys
field-paid-until = paid until
field-holds-until = holds until
field-email = mail to
field-hook = chat hook
field-locale = language
nowhere = nowhere
locale-en = English
locale-zh = Chinese
no-limit = no limit
keys-of = { $keys } of { $most }
tier-local = your own account, without limits
tier-none = not paid for
tier-paid = paid
tier-grace = ended, and holds for a while
hint-over-limit = every key stays and is handed out; none is added until there are fewer, or a higher tier: akm billing tiers
no-orders = there are no orders
no-tiers = there are no tiers: nobody is limited by any
order-held = waits for a human
order-paid = paid
order-refunded = refunded
order-dismissed = dismissed
order-is = order { $number }: { $state }
order-link = { $provider }: { $amount }
order-note-account = whose is it
order-note-product = not sold here
order-note-paid-less = paid too little
order-note-paid-more = paid too much
order-note-months = how many months
order-note-currency = another currency
order-note-unpaid = is it paid
hint-orders-next = more: akm admin orders --after { $cursor }
no-notices = there is nothing to know today
notice-tier-ends = tier { $tier } ends on { $date }
notice-tier-grace = tier { $tier } ended on { $date } and holds for a few days
notice-over-limit = there are more keys than tier { $tier } allows: none is lost, none is added
notice-key-expires = { $key } expires on { $date }
notice-key-expired = { $key } expired on { $date }
reminder-tier-subject = akm: tier { $tier } ends in { $days ->
    [one] one day
   *[other] { $days } days
  }
reminder-tier = The tier { $tier } of your account { $account } ends on { $date }. Every key stays yours and is handed out afterwards too; what stops is adding keys beyond the free tier.
reminder-key-subject = akm: { $key } expires in { $days ->
    [one] one day
   *[other] { $days } days
  }
reminder-key = The key { $key } of your account { $account } expires on { $date }. From then on it is not handed out; akm rotate stores a new secret, akm edit --expires moves the date.
import-needs-settings = a database of LLM API Manager needs the settings of its server

## Administration of a server

col-answered = ANSWERED
col-failed = FAILED
col-faults = FAULTS
field-accounts = accounts
field-sessions = sessions
field-vault-size = vault
field-last-backup = last backup
field-disk = disk
field-certificate = certificate until
field-offsite = copy elsewhere
never-yet = never yet
disk-free = { $free } of { $total } free
alert-since = alert: { $what }, since { $time }
alert-backup = the newest backup is too old
alert-offsite = the newest backup is not copied elsewhere
alert-errors = too many requests fail because of the server
alert-disk = the disk is nearly full
alert-certificate = the certificate ends soon
alert-subject = akm: { $what }
alert-body = The akm server says, since { $time }: { $what }. You are told once. Look with akm admin status, or at the monitoring page.
code-open = open
code-used = used
code-expired = expired
code-revoked = the code is good for nothing any more
shared-provider-put = every account has the provider { $name }
shared-provider-removed = the provider { $name } is removed; keys stay, sealed for their hosts
ask-passphrase-to-remove = Passphrase, to remove the account:{" "}
ask-account-rm = remove the account { $account } with every key in it? [y/N]{" "}
account-removed = the account { $account } is removed, and { $keys ->
    [one] one key
   *[other] { $keys } keys
 } with it
