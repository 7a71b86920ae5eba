/* Runs conformance steps through the C ABI. Lines on stdin, tab-separated; one line "CODE<tab>ANSWER" on stdout for each.
 *   connect PATH | open PATH | call OP JSON | get NAME | close | count
 * `count` answers with the number of sessions that were begun. An empty path after `open` is the default vault. */
#define _GNU_SOURCE
#include "akm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void answer(int32_t code, akm_buffer *buffer)
{
    printf("%d\t%.*s\n", (int)code, (int)buffer->len, buffer->data ? (const char *)buffer->data : "");
    fflush(stdout);
    akm_buffer_free(buffer);
}

int main(void)
{
    char *line = NULL;
    size_t room = 0;
    akm_client client = 0;
    unsigned count = 0;

    while (getline(&line, &room, stdin) > 0) {
        akm_buffer buffer = AKM_BUFFER_INIT;
        char *rest = line;
        char *word = strsep(&rest, "\t\n");
        char *first = strsep(&rest, "\t\n");
        char *second = strsep(&rest, "\t\n");

        if (strcmp(word, "connect") == 0 || strcmp(word, "open") == 0) {
            count += 1;
            int32_t code = word[0] == 'c' ? akm_connect(first, strlen(first), &client, &buffer)
                                          : akm_open(*first ? first : NULL, strlen(first), &client, &buffer);
            answer(code, &buffer);
        } else if (strcmp(word, "call") == 0) {
            answer(akm_call(client, first, strlen(first), second, strlen(second), &buffer), &buffer);
        } else if (strcmp(word, "get") == 0) {
            answer(akm_get(client, first, strlen(first), &buffer), &buffer);
        } else if (strcmp(word, "close") == 0) {
            akm_close(client);
            answer(AKM_OK, &buffer);
        } else if (strcmp(word, "count") == 0) {
            printf("0\t%u\n", count);
            fflush(stdout);
        } else {
            return 64;
        }
    }
    free(line);
    return 0;
}
