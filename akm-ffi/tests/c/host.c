/* A program that has akm inside and does what it is told, a line at a time, so that a test can look into its memory
 * between any two steps. What it read and wrote itself it wipes; what is left then is the library's. */
#include "akm.h"

#include <string.h>
#include <unistd.h>

static char line[4096];

static int say(const char *text)
{
    return write(1, text, strlen(text)) < 0;
}

/* A line without its end, or -1. Not through stdio, whose buffers keep copies. */
static long read_line(void)
{
    size_t len = 0;
    while (len < sizeof line - 1 && read(0, line + len, 1) == 1) {
        if (line[len] == '\n') {
            line[len] = 0;
            return (long)len;
        }
        len++;
    }
    return -1;
}

static void wait_for_go(void)
{
    char c;
    if (read(0, &c, 1) != 1)
        _exit(3);
}

static void wipe(void)
{
    volatile char *at = line;
    for (size_t i = 0; i < sizeof line; i++)
        at[i] = 0;
}

/* host embedded VAULT, host connected SOCKET; then lines "OP JSON" or "get NAME". */
int main(int argc, char **argv)
{
    akm_client client;
    akm_buffer out = AKM_BUFFER_INIT;
    if (argc != 3)
        return 1;
    int32_t code = strcmp(argv[1], "embedded") == 0 ? akm_open(argv[2], strlen(argv[2]), &client, &out)
                                                    : akm_connect(argv[2], strlen(argv[2]), &client, &out);
    if (code != AKM_OK)
        return 2;
    while (read_line() >= 0) {
        char *json = strchr(line, ' ');
        if (json == NULL)
            return 4;
        *json++ = 0;
        say("read\n");
        wait_for_go();
        if (strcmp(line, "get") == 0)
            code = akm_get(client, json, strlen(json), &out);
        else
            code = akm_call(client, line, strlen(line), json, strlen(json), &out);
        wipe();
        say(code == AKM_OK ? "done\n" : "failed\n");
        wait_for_go();
        akm_buffer_free(&out);
        say("freed\n");
    }
    akm_close(client);
    say("closed\n");
    wait_for_go();
    return 0;
}
