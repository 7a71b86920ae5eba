# What the dashboard says, in English. web.zh.ftl has the same ids and variables.
#
# Families that code composes: outcome-, status-, kind-, category-, done-, field- (of an operation), balance-kind-, balance-of-, provider-.
# js-… are said by a script, which fills in what stands in braces.

## Frame
brand = akm
skip-to-content = Skip to content
nav-label = Dashboard
nav-keys = Keys
nav-providers = Providers
nav-activity = Activity
nav-log = Log
nav-account = Account
lock = Lock
all = All
search = Search
filter = Filter
clear-filters = Clear filters
cancel = Cancel
save = Save changes
remove = Remove
never = never
no-end = never
next = Next
previous = Previous
newer = Newer
older = Older
pager = Pages
page-of = Page { $page } of { $pages }
more-options = More options
damaged = Something in this vault was changed behind akm's back. Run akm doctor and look into your backups.
damaged-hosted = Something in this vault was changed behind akm's back. Tell whoever runs this server.
no-match-title = Nothing found
no-match = Try another word.

## What scripts say
js-copied = Copied: { "{name}" }
js-cleared = The clipboard was cleared
js-no-clipboard = The browser does not let this page copy. Reveal the secret and copy it by hand.
js-failed = The agent did not answer. Is it still running?
js-locked = The vault is locked. Reload the page to unlock it.
js-tested = { "{done}" } of { "{total}" } tested, { "{bad}" } with a problem
js-testing = Testing { "{done}" } of { "{total}" }
js-too-large = The file is too large for this page: import it in parts.
js-no-handover = The file is not a hand-over.
js-refused = Nothing is stored. These keys cannot be taken: { "{names}" }
reveal = Reveal for a moment
hide = Hide

## Coming in
open-title = Opening the dashboard
open-wait = One moment.
open-failed = This link was used already, or a minute has passed. Get a new one:
open-script = This page needs JavaScript to take the link apart.
no-entry-title = This browser is not let in
no-entry = The dashboard opens through a link that is good once. Get one in a terminal:
left-title = This browser has left
left = The vault is as it was. To come back, get a new link:
unlock-title = Unlock the vault
unlock-lead = The agent holds no key until you do.
unlock = Unlock
lost-passphrase = Lost the passphrase?
totp-if-any = Leave it empty if your account has none.
account-hint = Leave it empty for the account “default”.
life-none = until locked
life-hour = one hour
life-day = eight hours
register-title = Create the vault
register-lead = This machine has no vault yet. Everything in it will be sealed with your passphrase; nobody can reset it for you.
register = Create
with-totp = Ask for a code of an authenticator as well
with-totp-hint = Guards the running agent: six digits that change every 30 seconds.
welcome-title = Before you go on
go-on = Go to the dashboard
recover-title = Set a new passphrase
recover-lead = With one of the recovery codes you wrote down. It is used up.
recover = Set and unlock
back-to-unlock = Back to unlocking
codes-title = Recovery codes
codes-keep = Write these down or print them now: they are not shown again. Each opens the account once, without passphrase or authenticator.
codes-lead = New codes make the old ones void.
codes-new = Make new codes
totp-title = Authenticator
totp-scan = Scan this with an authenticator, then type the code it shows.
totp-by-hand = Or type this in by hand:
totp-confirm = Confirm
totp-later = Not now; without a first code it does not count
totp-lead = A code beside the passphrase, at every unlock.
totp-enable = Set up an authenticator
totp-off-title = Do without codes
totp-off-lead = From then on the passphrase alone unlocks.
totp-off = Switch off
qr-label = QR code for an authenticator

sign-in-title = Sign in
sign-in = Sign in
sign-out = Sign out
no-account = Create an account
have-account = I have an account
join-title = Create an account
join-lead = Your keys will be sealed with your passphrase. Whoever runs this server cannot read them at rest and cannot reset it.
join-closed = Accounts are not created here. Ask whoever runs this server for one.
invitation-hint = From whoever runs this server
setup-lead = This server asks every account for a second factor before anything else.

## Membership
nav-membership = Membership
membership-title = Membership
membership-standing = Where you stand
membership-history = History
change-paid = paid
change-grace = grace period began
change-ended = ended
change-refunded = refunded
keys-of = { $count } of { $most }
tier-until = Paid until
tier-paid = paid
tier-grace = ended, still holds
tier-yours = yours
tier-month = a month
tier-keys =
    { $count ->
       [one] { $count } key
      *[other] { $count } keys
    }
tier-keys-any = as many keys as you like
tier-providers =
    { $count ->
        [one] { $count } provider of your own
       *[other] { $count } providers of your own
    }
tier-requests = { $count } requests a minute
tier-order = Order
order-ready = Your order
order-price = { $price }, to be paid at the seller's page. Your membership begins here when the payment arrives.
order-go = Go to the order page
order-held = waits for a human
order-paid = paid
order-refunded = refunded
order-dismissed = dismissed
redeem-title = Redeem a code
redeem-code = Code
redeem = Redeem
orders-title = Orders
reminders-title = Reminders
reminders-lead = Before your tier or a key ends, you are told here, and by mail or chat if you say where. Whoever runs this server can read these addresses.
field-email = Address for mail
field-hook = Chat hook
field-hook-url = Address of the hook
field-locale = Language of reminders
hook-none = none
hook-feishu = Feishu, Lark
hook-dingtalk = DingTalk
hook-wecom = WeCom
hook-url-kept = Leave it empty to keep the one there is. It is not shown.
notice-tier-ends = Tier { $tier } ends:
notice-tier-grace = Tier { $tier } has ended and holds for a few days:
notice-over-limit = There are more keys than tier { $tier } allows: none is lost, none can be added.
notice-key-expires = { $key } expires:
notice-key-expired = { $key } has expired:
col-months = Months
col-price = Price

## Administration
nav-admin = Administration
admin-title = Administration
admin-lead = Accounts, invitations, and what happened on this server. Nobody's keys can be read here.
admin-accounts = Accounts
admin-invite-title = Invitations
admin-invite-lead = An invitation lets somebody create an account. It is shown once.
admin-invite = Make an invitation
admin-invited = Hand this on; it is good until { $time }:
admin-uses = Good for how many accounts
admin-days = Days
admin-log-title = What happened
admin-limit = Most keys
admin-no-limit = no limit
admin-disable = Disable
admin-enable = Enable
col-role = Role
col-tier = Tier
col-keys = Keys
col-sessions = Sessions
col-totp = TOTP
col-limit = Limit
role-admin = administrator
role-user = user
yes = yes
no = no
disabled = disabled

## Fields
field-invitation = Invitation
field-passphrase = Passphrase
field-current-passphrase = Your passphrase
field-new-passphrase = New passphrase
field-again = The same again
field-totp = Code of your authenticator
field-code = Code
field-recovery-code = Recovery code
field-account = Account
field-lifetime = Stay unlocked
field-provider = Provider
field-provider-id = Id
field-label = Label
field-name = Name
field-secret = Secret
field-new-secret = New secret
field-secret-again = The secret again
field-model = Model
field-category = Categories
field-purpose = Purpose
field-status = Status
field-notes = Notes
field-expires = Expires
field-env = Environment variable
field-base-url = Base address
field-header = Header
field-team = Team or account id
field-low-balance = Low balance
field-use-only = Use only
field-hosts = Sent only to
field-created = Added
field-updated = Changed
field-last-used = Last used
field-last-test = Last test
field-format = Format
field-seal = Passphrase for the file
field-version = Version
error-of-field = { $field }: { $message }
error-wait = { $message } Wait { $seconds } s.
passphrase-hint = Long beats clever: four or five words.
passphrase-hint-hosted = Eight characters or more. Long beats clever: four or five words.

## Keys
keys-title = Keys
keys-count =
    { $count ->
       [one] { $count } key
      *[other] { $count } keys
    }
keys-none-title = No keys yet
keys-none = Store the first one here, or bring them in with akm import.
keys-none-hosted = Store the first one here, or bring them in from a file or another server: Account, then “Import or move”.
keys-no-match-title = No key fits
keys-no-match = Search for less, or clear the filters.
keys-unreadable = { $count ->
    [one] 1 key does not open and is not shown here.
   *[other] { $count } keys do not open and are not shown here.
}
keys-too-many = Only the first { $count } keys are looked through here.
search-keys = Name, model, category, notes
add-key = Add key
add-title = Add a key
add-lead = It is sealed before it is stored, and sent to its provider's own hosts only.
provider-hint = openai, deepseek, or any name of your own
label-hint = What tells it from your others: work, home. Empty is the default key.
secret-hint = One line, as the provider shows it. It is not shown again unless you ask.
categories-hint = Several with commas between them
env-hint = The variable programs read; the provider's own if empty
base-url-hint = Where the provider is reached, if not at its own address
low-balance-hint = Warn below this: 5, or 5 CNY
team-hint = For providers whose addresses need one
use-only-hint = Never shown or copied; only used by the agent itself
test-at-once = Test it at once
test = Test
test-all = Test all shown
test-progress = Tests
test-detail = { $detail } ({ $ms } ms)
copy = Copy
facts-title = What is known
edit-title = Edit
secret-again-hint = Needed to change the provider or the address: the secret is bound to its hosts
passphrase-for-use-only = Needed to let a use-only key be shown again
rotate-title = Rotate
rotate-lead = A new secret under the same name. The old one is kept, sealed.
rotate = Store the new secret
history-title = Versions
version = Version { $number }
danger-title = Switch off or remove
disable-lead = Switched off, it is kept and not handed out.
enable-lead = It is switched off and handed out to nobody.
disable = Switch off
enable = Switch on
remove-title = Remove this key
remove-lead = The key and its old versions are gone for good. Revoke it at the provider as well.
remove-for-good = Remove for good

## Providers and models
providers-title = Providers
providers-count =
    { $count ->
       [one] { $count } provider akm knows how to reach and test
      *[other] { $count } providers akm knows how to reach and test
    }
add-provider = Add provider
provider-add-title = Add a provider
provider-add-lead = A gateway or server of your own. It has to speak the OpenAI way.
provider-id-hint = Small letters, digits and hyphens: my-gateway
provider-url-hint = https://…, or http://127.0.0.1:PORT
header-hint = The header that carries the key; a bearer token if empty
proves-key = Its list of models is for valid keys only
proves-key-hint = Then a test that succeeds proves the key.
provider-own = yours
unproven = a test cannot prove a key
console = Console
models-title = Models
models-count =
    { $count ->
       [one] { $count } model
      *[other] { $count } models
    }
models-about = { $count } models; facts gathered on { $day }
models-first = The first { $shown } of { $count }: narrow the search to see others.
price-per-million = Prices are for a million tokens. A dash is unknown.
col-context = Window
col-input = Input
col-output = Output

## Activity and balance
activity-title = Activity
activity-lead = What the audit says your keys were used for. Days are UTC.
last-days =
    { $count ->
       [one] last day
      *[other] last { $count } days
    }
since = Period
chart-title = Events a day
series-handed-out = handed out
series-tested = tested
series-changed = changed
series-refused = refused
as-table = The same as a table
col-day = Day
most-used-title = Asked for most
most-used-none-title = Nothing was handed out
most-used-none = Keys that programs ask for appear here.
balance-title = Balance
balance-lead = What providers say is left, asked now and kept nowhere.
balance-ask-all = Ask all providers
balance-none-title = Not asked yet
balance-none = Each provider is asked with your key; it may take a few seconds.
balance-low = low
balance-uncompared = Not compared with { $threshold }: { $why }
balance-unlimited = no limit
balance-used = used
balance-total = of { $total }
balance-owed = { $amount } owed
balance-gauge = { $percent } % left
balance-kind-prepaid = prepaid
balance-kind-quota = quota
balance-kind-spend = spent
balance-of-account = of the account
balance-of-key = of this key
balance-of-plan = of the plan

## Log
log-title = Log
log-lead = Every secret handed out stands here, written before it left.
log-none-title = No events
log-none = Nothing happened in this period that fits the filter.
log-too-many = Only the oldest { $count } events of this period are shown: choose a shorter one.
back-to-log = Back to the log
col-time = Time
col-action = Action
col-key = Key
col-outcome = Outcome
col-caller = Program
chain-system = system
verify = Verify
verify-title = Verification of the log
verify-ok =
    { $count ->
       [one] { $count } event is
      *[other] { $count } events are
    } authentic, and none is missing.
verify-bad = Event { $count } is not what was written. Somebody changed the log.

## Account
account-title = Account
back-to-account = Back to the account
session-title = Session
session-until = Unlocked until
until-locked = until locked
session-hint = Leaving closes this browser's way in and keeps the vault open for your programs. Locking wipes every key from memory, for all of them.
leave = Leave
sessions-title = Where you are signed in
sessions-end-others = End all others
from-network = network { $address }
session-host = on the host itself
session-this = this one
session-end = End
passphrase-title = Passphrase
passphrase-change = Change passphrase
export-title = Export
export-lead = All keys in one file, sealed with a passphrase of its own in the age format.
export = Download
export-skip = Leave out the keys that do not open
export-plain-title = Without sealing
export-plain-lead = Everybody who reads the file has your keys. Needs the passphrase of your account.
export-plain = Yes, in clear
seal-hint = At least as good as your own: a file can be guessed at for ever.
format-json = akm JSON
format-cxf = FIDO CXF
format-env = .env

## Refusals
not-found-title = There is nothing here
denied-title = That is not allowed
failed-title = That did not work
back-to-keys = Back to the keys

## Done
done-added = The key is stored.
done-changed = The changes are saved.
done-rotated = The new secret is stored; the old one is kept, sealed.
done-disabled = The key is switched off.
done-enabled = The key is switched on.
done-removed = The key is gone.
done-tested = The key was tested.
done-passphrase = The passphrase is changed.
done-totp-on = The authenticator counts from now on.
done-totp-off = Codes are no longer asked for.
done-session-ended = The session has ended.
done-account-changed = The account is changed.
done-reminders = It is saved where you are reminded.
done-redeemed = The code is redeemed.
done-provider-added = The provider is added.
done-provider-removed = The provider is gone; its keys stay.

## Tokens of the contract
status-active = active
status-disabled = switched off
status-expired = expired
status-burned = burned
outcome-ok = done
outcome-valid = valid
outcome-valid-restricted = valid, restricted
outcome-invalid = invalid
outcome-no-permission = no permission
outcome-out-of-credit = out of credit
outcome-rate-limited = rate limited
outcome-unreachable = unreachable
outcome-unverifiable = cannot be proven
provider-uncertain = uncertain
provider-retired = retired

## Fields of operations
field-categories = Categories
field-expires-at = Expires
field-key = Key
field-record = Record
field-accept = Request
field-new-name = New name
field-since = Period
field-action = Action

## Kinds of errors, purposes of models
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

## Administration of a server
more = More
done-account-removed = The account is removed.
account-remove-title = Delete the account
account-remove-lead = Every key in it is gone at once, and so is the way back. Copies in backups of this server end with them. What happened stays in the server's log.
account-remove = Delete the account and its keys
provider-shared = of this server
admin-tiers = Tiers
admin-orders = Orders
admin-codes = Redeem codes
admin-providers = Providers
admin-limits = Limits
admin-monitoring = Monitoring
admin-remove = Delete the account
admin-tiers-lead = Limits hold from the next request on. What a seller asks for stands at the seller's and in billing.toml; the price here is what people are shown.
admin-tier-new = Another tier
admin-tier-name = Name
admin-tier-name-zh = Name in Chinese
admin-tier-price = A month, in yuan
admin-most-providers = Most providers of their own
admin-most-requests = Most requests in a minute
admin-orders-held = Waiting
admin-orders-none = There are none.
admin-orders-empty = What cannot be matched to an account or a product waits here for a decision.
admin-order-look = Look at
admin-order-grant = Grant it
admin-order-dismiss = Dismiss it
admin-order-refund = Money went back
order-note-account = whose is it
order-note-product = not sold here
order-note-paid-less = paid too little
order-note-paid-more = paid too much
order-note-months = how many months
order-note-currency = another currency
order-note-unpaid = is it paid
admin-tiers-off = This server has no billing.toml: there are no tiers, and nobody is limited by any.
admin-codes-off = This server takes no redeem codes: billing.toml says so.
admin-codes-make = Make codes
admin-codes-made = New codes
admin-codes-once = They are shown this once.
admin-codes-count = How many
admin-codes-until = Good until
admin-codes-none = There are none yet.
admin-codes-empty = Codes that were made are listed here, without themselves.
admin-code = Id
admin-code-revoke = Take back
code-open = open
code-used = used
code-expired = expired
admin-providers-lead = Every account has these. Changing one moves no key that exists: its hosts were sealed with it.
admin-provider-put = Add a provider, or change the one of this id
admin-limits-server = On this server
admin-limits-where = These stand in config.toml.
admin-limits-change = Change
admin-limits-accounts = Of single accounts
admin-limits-none = No account has a limit of its own.
admin-registration = Registration
registration-open = open
registration-invitation = by invitation
registration-closed = closed
admin-session-idle = A session ends unused after
admin-session-longest = A session ends in any case after
admin-minutes =
    { $count ->
       [one] { $count } minute
      *[other] { $count } minutes
    }
monitor-fine = Nothing needs your attention.
monitor-alert = { $what }, since { $time }
alert-backup = The newest backup is too old
alert-offsite = The newest backup is not copied elsewhere
alert-errors = Too many requests fail because of the server
alert-disk = The disk is nearly full
alert-certificate = The certificate ends soon
monitor-now = Now
monitor-hours = The last hours
monitor-operations = Operations
monitor-operation = Operation
monitor-answered = Answered
monitor-failed = With an error
monitor-faults = Server's fault
monitor-fine-answers = Fine
monitor-refused = Refused
monitor-since = Counted since
monitor-vault = Vault
monitor-backup = Last backup
monitor-offsite = Copy elsewhere
offsite-ok = done
offsite-failed = failed
offsite-timeout = took too long
offsite-refused = not run
monitor-disk = Disk
monitor-disk-free = { $free } of { $total } free
monitor-certificate = Certificate until
field-tier = Tier
field-price = Price
field-months = Months
field-keys = Most keys
field-providers = Most providers
field-requests-per-minute = Most requests in a minute
field-key-limit = Most keys
field-number = Number
field-resolution = Decision
field-count = How many
field-name-zh = Name in Chinese

## Moving
move-title = Import and hand-over
move-lead = Bring keys in from a file, or move them to an account of another server without a passphrase to agree on.
move-go = Import or move
import-title = Import
import-lead = An export of akm, a FIDO CXF file, lines of NAME=secret, or a list of LLM API Manager. Nothing is stored unless every key can be.
import-seal-hint = Only for a file that was sealed
import-skip = Leave keys alone that exist with another secret
import = Import
import-dry = Only look
import-why = Why
import-stored =
    { $count ->
        [one] { $count } key is stored.
       *[other] { $count } keys are stored.
    }
import-would =
    { $count ->
        [one] { $count } key would be stored; the others are here already.
       *[other] { $count } keys would be stored; the others are here already.
    }
import-nothing =
    { $count ->
        [one] Nothing is stored: { $count } key cannot be taken.
       *[other] Nothing is stored: { $count } keys cannot be taken.
    }
import-added = new
import-unchanged = here already
import-skipped = left alone
import-conflict = another secret
import-invalid = not a key
receive-title = Receive from another server
receive-lead = Make a code here, send the keys for it there, and bring the file back in this session. It comes in once.
receive-code = Make a code
receive-code-title = Code to receive with
receive-code-lead = Give it to the account that sends. It ends with this session, at the latest
receive = Receive
received =
    { $count ->
        [one] { $count } key is stored; { $unchanged } were here already.
       *[other] { $count } keys are stored; { $unchanged } were here already.
    }
receive-compare = Compare the checksum with the name of the file, or with what the other end shows. Then remove the old keys there.
receive-differing = Not stored as they were sent, because they existed with other properties: { $names }
send-title = Send to another server
send-lead = The file is sealed for the session that made the code; nobody else can open it. Its name says how many keys are in it and how their checksum begins. Burned keys, old secrets, grants and providers of your own stay here.
send-code = Code of the account that receives
send = Save the file
field-file = File
field-content = Content
field-checksum = Checksum
field-handover = Hand-over
