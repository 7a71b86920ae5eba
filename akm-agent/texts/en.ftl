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
hint-credentials = check the account, the passphrase and the code, and try again
hint-list = run akm ls to see what there is
hint-corrupt = run akm log verify and look into your backups
hint-version = use the version of akm that wrote the vault, or a newer one
hint-again = try again, and run akm doctor if it stays
hint-doctor = run akm doctor to see the files akm uses

## Session: unlock, lock, status

ask-passphrase = passphrase:{" "}
ask-code = code of your authenticator:{" "}
code-needed = this account needs a code as well
unlocked = { $account } is unlocked
unlocked-until = { $account } is unlocked until { $time }
locked = locked
no-account-yet = no account yet
field-state = state
field-agent = agent
field-vault = vault
field-code-asked = code asked for

## Keyfile

keyfile-enabled = the account opens only together with { $path } from now on
keyfile-disabled = the passphrase alone opens the account from now on
hint-keyfile-copy = keep a copy of the file: without it only a recovery code opens the account; older copies of the vault open without it until akm vault rekey
hint-keyfile-stays = the file stays: backups from before need it
field-keyfile-needed = keyfile needed
field-kept-in = kept in

## Tokens

status-active = active
status-disabled = disabled
status-expired = expired
status-burned = burned

## Providers and models

col-provider = PROVIDER
col-name = NAME
col-status = STATUS
col-variable = VARIABLE
col-test = TEST
col-models = MODELS
col-default-model = DEFAULT MODEL
col-model = MODEL
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
