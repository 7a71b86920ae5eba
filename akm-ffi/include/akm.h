/*
 * akm: API keys from an encrypted vault, for any language that can call C.
 *
 * Connect to the running agent (akm_connect) or open a vault inside this process (akm_open), then call any
 * operation by its name with a JSON object (akm_call), or fetch one key (akm_get):
 *
 *     akm_client agent;
 *     akm_buffer answer = AKM_BUFFER_INIT;
 *     if (akm_connect(NULL, 0, &agent, &answer) == AKM_OK) {
 *         if (akm_get(agent, "openai/work", 11, &answer) == AKM_OK)
 *             use(answer.data, answer.len);             // not NUL-terminated
 *         else
 *             report(answer.data, answer.len);          // {"kind":"locked","message":…}
 *         akm_close(agent);
 *     }
 *     akm_buffer_free(&answer);
 *
 * Rules for every function
 *   - Texts are UTF-8 with an explicit length; they need no NUL at the end and are not kept after the call.
 *   - Return value: AKM_OK, or one of the codes below. Codes are never reused.
 *   - A buffer comes in zeroed. After the call it holds the answer: the result on AKM_OK, else the error object
 *     {"kind","message","field"?,"hint"?,"retry_after_s"?} as JSON. Free it before using it again: a buffer that is not
 *     zeroed may still hold a secret, so the call returns AKM_INVALID_INPUT and leaves it as it is.
 *   - A null (or misaligned) buffer gives AKM_INVALID_INPUT, and nothing is written and nothing done. A null handle pointer
 *     gives AKM_INVALID_INPUT with an error object.
 *   - Everything may be called from any thread, several threads may share a handle, and a call on one handle never waits
 *     for another handle's. A call needs about 64 KiB of stack. No function may be called from a signal handler.
 *   - The library creates no files but the vault's, prints nothing, and keeps no thread-local state. Once loaded it stays
 *     loaded until the process ends.
 *
 * fork
 *   In the child, a connected handle makes its own connection at its next call; a handle of akm_open answers AKM_FORKED for
 *   ever, and closing it there leaves the parent's vault alone. fork + exec needs no care: descriptors close on exec.
 */
#ifndef AKM_H
#define AKM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The version of the ABI this header describes; compare with akm_abi_version(). */
#define AKM_ABI_VERSION 1

/* What went wrong, by what the caller can do about it. The token of "kind" stands behind each. */
enum {
    AKM_OK = 0,
    AKM_LOCKED = 1,              /* locked: unlock the account */
    AKM_WRONG_CREDENTIALS = 2,   /* wrong_credentials: account, passphrase and code do not fit together */
    AKM_NOT_FOUND = 3,           /* not_found: no such key, provider, account or operation */
    AKM_CONFLICT = 4,            /* conflict: it exists already, another process holds the vault, or the agent another one */
    AKM_DENIED = 5,              /* denied: known and not allowed (disabled, expired, use-only) */
    AKM_LIMIT_REACHED = 6,       /* limit_reached: a limit on the account, or on open handles */
    AKM_RATE_LIMITED = 7,        /* rate_limited: wait "retry_after_s" seconds */
    AKM_INVALID_INPUT = 8,       /* invalid_input: "field" names the part of the request or the argument */
    AKM_CORRUPT = 9,             /* corrupt: stored data fails its authentication */
    AKM_ROLLED_BACK = 10,        /* rolled_back: stored data is older than what this machine has seen */
    AKM_UNSUPPORTED_VERSION = 11,/* unsupported_version: stored data is newer than this library */
    AKM_UNAVAILABLE = 12,        /* unavailable: the agent is stopping or overloaded; try again */
    AKM_PROVIDER = 13,           /* provider: the provider or the way to it failed */
    AKM_IO = 14,                 /* io: the operating system refused a read or a write */
    AKM_INTERNAL = 15,           /* internal: a defect in akm */
    AKM_NO_AGENT = 16,           /* no_agent: nothing listens on the socket */
    AKM_TIMEOUT = 17,            /* timeout: no answer in time */
    AKM_CLOSED = 18,             /* closed: the handle is closed, or never was one */
    AKM_FORKED = 19              /* forked: the vault was opened by the parent process */
};

/* A handle, checked at every use. 0 is never valid; a closed one is never mistaken for a later one. */
typedef uint64_t akm_client;

/* Memory of the library, lent to the caller until akm_buffer_free. Change none of its members. */
typedef struct akm_buffer {
    uint8_t *data;
    size_t len;
    size_t cap;
} akm_buffer;

/* How every buffer starts. */
#define AKM_BUFFER_INIT { NULL, 0, 0 }

/* The version of the ABI the library speaks. */
uint32_t akm_abi_version(void);

/*
 * Connects to the agent behind the Unix socket at this path; NULL with length 0 is the default place
 * ($AKM_AGENT_SOCK, else as `akm` itself finds it). An empty path that is not NULL is AKM_INVALID_INPUT.
 * On AKM_OK *out is the handle and the buffer stays empty; else *out is 0.
 * Fails with AKM_NO_AGENT when nothing listens there.
 */
int32_t akm_connect(const char *socket, size_t len, akm_client *out, akm_buffer *err);

/*
 * Opens a vault inside this process, creating it if there is none; it starts locked (call "agent.unlock", or
 * "account.register" for a new one). NULL with length 0 is the default vault with its state directory; so is a path that
 * names the default vault. With any other path, the journal lies beside the vault and the state in "state/" beside it. The
 * state directory holds the host key: a vault opened with another one has fresh counters of failed attempts and a system
 * audit chain that does not verify, so give every opener of a vault the same environment.
 * No config.toml is read: there is no limit on keys, no proxy, no CA file and no default lifetime. The agent has them.
 * One process owns a vault at a time: AKM_CONFLICT if the agent or another program has it.
 */
int32_t akm_open(const char *vault, size_t len, akm_client *out, akm_buffer *err);

/*
 * Calls an operation ("key.list") with a JSON object; length 0 means {}. On AKM_OK the buffer holds the operation's
 * result as JSON. Requests are at most 256 KiB.
 */
int32_t akm_call(akm_client client, const char *op, size_t op_len, const char *json, size_t json_len, akm_buffer *out);

/* Fetches a key ("openai/work", or "openai" for "openai/default"). On AKM_OK the buffer holds the secret's bytes. */
int32_t akm_get(akm_client client, const char *name, size_t len, akm_buffer *out);

/* Wipes, frees and zeroes a buffer. NULL and zeroed buffers are fine, so freeing twice is. */
void akm_buffer_free(akm_buffer *buffer);

/* Closes a handle after the calls under way on it; the keys of an embedded vault are wiped. 0 and twice are fine. */
void akm_close(akm_client client);

#ifdef __cplusplus
}
#endif

#endif
