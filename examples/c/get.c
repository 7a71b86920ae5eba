/* Prints a key's secret: get NAME. Exit status 3 when locked, 2 without an agent, 1 otherwise.
 *
 *     cc -I akm-ffi/include examples/c/get.c -o get -L target/release -lakm -Wl,-rpath,$PWD/target/release
 */
#include "akm.h"

#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: get NAME\n");
        return 64;
    }
    akm_client agent = 0;
    akm_buffer answer = AKM_BUFFER_INIT;
    int32_t code = akm_connect(NULL, 0, &agent, &answer);
    if (code == AKM_OK)
        code = akm_get(agent, argv[1], strlen(argv[1]), &answer);

    /* On success the buffer holds the secret, else an error object. */
    FILE *out = code == AKM_OK ? stdout : stderr;
    fwrite(answer.data, 1, answer.len, out);
    fputc('\n', out);
    akm_buffer_free(&answer);
    akm_close(agent);
    switch (code) {
    case AKM_OK: return 0;
    case AKM_LOCKED: return 3;
    case AKM_NO_AGENT: return 2;
    default: return 1;
    }
}
