/* The C ABI as a C program meets it, under the address and undefined-behaviour sanitizers where the compiler has them.
 * Arguments: the socket of an agent with the key openai/work, the key's secret, and a path for a new vault. */
#define _GNU_SOURCE
#include "akm.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(condition)                                                     \
    do {                                                                     \
        if (!(condition)) {                                                  \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);  \
            exit(1);                                                         \
        }                                                                    \
    } while (0)

static const char *secret;

static int is_empty(const akm_buffer *buffer)
{
    return buffer->data == NULL && buffer->len == 0 && buffer->cap == 0;
}

static int holds(const akm_buffer *buffer, const char *text)
{
    return buffer->data != NULL && memmem(buffer->data, buffer->len, text, strlen(text)) != NULL;
}

static int32_t call(akm_client client, const char *op, const char *json, akm_buffer *out)
{
    akm_buffer_free(out);
    return akm_call(client, op, strlen(op), json, strlen(json), out);
}

static void connected(const char *socket, akm_client *kept)
{
    akm_client client = 7;
    akm_buffer buffer = AKM_BUFFER_INIT;

    CHECK(akm_connect("/nonexistent/akm", 16, &client, &buffer) == AKM_NO_AGENT);
    CHECK(client == 0 && holds(&buffer, "\"kind\":\"no_agent\""));
    /* A buffer that was not freed is left as it is. */
    uint8_t *before = buffer.data;
    CHECK(akm_connect(socket, strlen(socket), &client, &buffer) == AKM_INVALID_INPUT);
    CHECK(client == 0 && buffer.data == before);
    akm_buffer_free(&buffer);
    CHECK(is_empty(&buffer));
    akm_buffer_free(&buffer);
    akm_buffer_free(NULL);

    CHECK(akm_connect(socket, strlen(socket), &client, &buffer) == AKM_OK);
    CHECK(client != 0 && is_empty(&buffer));
    CHECK(akm_get(client, "openai/work", 11, &buffer) == AKM_OK);
    CHECK(buffer.len == strlen(secret) && memcmp(buffer.data, secret, buffer.len) == 0);
    akm_buffer_free(&buffer);
    CHECK(akm_get(client, "openai/none", 11, &buffer) == AKM_NOT_FOUND);
    CHECK(holds(&buffer, "\"field\":\"name\""));
    CHECK(call(client, "key.list", "{}", &buffer) == AKM_OK && holds(&buffer, "openai/work"));
    CHECK(call(client, "key.list", "", &buffer) == AKM_OK && holds(&buffer, "openai/work"));
    CHECK(call(client, "key.list", "[]", &buffer) == AKM_INVALID_INPUT);
    CHECK(call(client, "key.steal", "{}", &buffer) == AKM_NOT_FOUND);
    akm_buffer_free(&buffer);
    *kept = client;
}

static void forked(akm_client agent, akm_client vault)
{
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        akm_buffer buffer = AKM_BUFFER_INIT;
        CHECK(akm_get(agent, "openai/work", 11, &buffer) == AKM_OK);
        CHECK(buffer.len == strlen(secret) && memcmp(buffer.data, secret, buffer.len) == 0);
        akm_buffer_free(&buffer);
        CHECK(akm_get(vault, "openai/mine", 11, &buffer) == AKM_FORKED);
        CHECK(holds(&buffer, "\"kind\":\"forked\""));
        akm_buffer_free(&buffer);
        akm_close(vault);
        akm_close(agent);
        CHECK(akm_get(agent, "openai/work", 11, &buffer) == AKM_CLOSED);
        akm_buffer_free(&buffer);
        _exit(0);
    }
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void embedded(const char *path, akm_client *kept)
{
    akm_client client = 0, second = 0;
    akm_buffer buffer = AKM_BUFFER_INIT;

    CHECK(akm_open(path, strlen(path), &client, &buffer) == AKM_OK);
    CHECK(client != 0 && is_empty(&buffer));
    CHECK(call(client, "agent.status", "{}", &buffer) == AKM_OK && holds(&buffer, "\"locked\":true"));
    akm_buffer_free(&buffer);
    CHECK(akm_open(path, strlen(path), &second, &buffer) == AKM_CONFLICT && second == 0);
    akm_buffer_free(&buffer);
    CHECK(akm_get(client, "openai/mine", 11, &buffer) == AKM_LOCKED);
    CHECK(call(client, "account.register",
               "{\"account\":\"default\",\"passphrase\":\"smoke test\",\"totp\":false}", &buffer) == AKM_OK);
    CHECK(call(client, "key.add", "{\"name\":\"openai/mine\",\"secret\":\"sk-smoke\"}", &buffer) == AKM_OK);
    akm_buffer_free(&buffer);
    CHECK(akm_get(client, "openai/mine", 11, &buffer) == AKM_OK);
    CHECK(buffer.len == 8 && memcmp(buffer.data, "sk-smoke", 8) == 0);
    akm_buffer_free(&buffer);
    akm_close(client);

    /* Closed means given up: the same process can have it again, locked, with what was stored. */
    CHECK(akm_get(client, "openai/mine", 11, &buffer) == AKM_CLOSED);
    akm_buffer_free(&buffer);
    CHECK(akm_open(path, strlen(path), &second, &buffer) == AKM_OK && second != client);
    CHECK(akm_get(second, "openai/mine", 11, &buffer) == AKM_LOCKED);
    CHECK(call(second, "agent.unlock", "{\"passphrase\":\"smoke test\"}", &buffer) == AKM_OK);
    akm_buffer_free(&buffer);
    CHECK(akm_get(second, "openai/mine", 11, &buffer) == AKM_OK && buffer.len == 8);
    akm_buffer_free(&buffer);
    *kept = second;
}

struct work {
    akm_client client;
    const char *name;
    unsigned answered;
};

static void *ask_until_closed(void *argument)
{
    struct work *work = argument;
    for (;;) {
        akm_buffer buffer = AKM_BUFFER_INIT;
        int32_t code = akm_get(work->client, work->name, strlen(work->name), &buffer);
        CHECK(code == AKM_OK || code == AKM_CLOSED);
        akm_buffer_free(&buffer);
        if (code == AKM_CLOSED)
            return NULL;
        __atomic_fetch_add(&work->answered, 1, __ATOMIC_SEQ_CST);
    }
}

/* Many threads on one handle, closed under their hands: each call is answered whole or says closed. */
static void threads(akm_client client, const char *name)
{
    pthread_t all[6];
    struct work work = { client, name, 0 };

    for (size_t i = 0; i < 6; i++)
        CHECK(pthread_create(&all[i], NULL, ask_until_closed, &work) == 0);
    while (__atomic_load_n(&work.answered, __ATOMIC_SEQ_CST) < 200)
        sched_yield();
    akm_close(client);
    akm_close(client);
    for (size_t i = 0; i < 6; i++)
        CHECK(pthread_join(all[i], NULL) == 0);
}

static void *ask_and_fork_meanwhile(void *argument)
{
    return ask_until_closed(argument);
}

/* Forking while other threads are inside the library: the child finds no lock that somebody took along. */
static void forks(const char *socket)
{
    pthread_t all[4];
    akm_client client = 0;
    akm_buffer buffer = AKM_BUFFER_INIT;
    CHECK(akm_connect(socket, strlen(socket), &client, &buffer) == AKM_OK);
    struct work work = { client, "openai/work", 0 };

    for (size_t i = 0; i < 4; i++)
        CHECK(pthread_create(&all[i], NULL, ask_and_fork_meanwhile, &work) == 0);
    for (int round = 0; round < 20; round++) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            alarm(60);
            akm_buffer answer = AKM_BUFFER_INIT;
            CHECK(akm_get(client, "openai/work", 11, &answer) == AKM_OK);
            akm_buffer_free(&answer);
            akm_close(client);
            _exit(0);
        }
        int status = -1;
        CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    akm_close(client);
    for (size_t i = 0; i < 4; i++)
        CHECK(pthread_join(all[i], NULL) == 0);
}

int main(int argc, char **argv)
{
    akm_client agent = 0, vault = 0;

    CHECK(argc == 4);
    secret = argv[2];
    CHECK(akm_abi_version() == AKM_ABI_VERSION);
    akm_close(0);
    akm_close(UINT64_MAX);
    connected(argv[1], &agent);
    embedded(argv[3], &vault);
    forked(agent, vault);
    threads(agent, "openai/work");
    threads(vault, "openai/mine");
    forks(argv[1]);
    puts("ok");
    return 0;
}
