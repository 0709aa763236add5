/*
 * replay: the main of a fuzz target that is not built for fuzzing. Runs every file of the folders that it is given,
 * once each. A folder without a file is an error: a target without seeds tests nothing.
 */
#include <dirent.h>
#include <string.h>

#include "fuzz.h"

#define INPUT_BYTES_MAX (1 << 20)

/* A copy of exactly the right size, so that the sanitizers see a read beyond it. */
static void run(const char *bytes, size_t size)
{
    uint8_t *copy = malloc(size > 0 ? size : 1);
    FUZZ_CHECK(copy != NULL);
    memcpy(copy, bytes, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

static void run_file(const char *folder, const char *name)
{
    static char bytes[INPUT_BYTES_MAX];
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    FUZZ_CHECK(file != NULL);
    size_t size = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    run(bytes, size);
}

static int run_folder(const char *folder)
{
    DIR *dir = opendir(folder);
    int count = 0;
    if (dir == NULL) {
        perror(folder);
        return 0;
    }
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        if (entry->d_name[0] == '.')
            continue;
        run_file(folder, entry->d_name);
        count++;
    }
    closedir(dir);
    printf("%s: %d inputs\n", folder, count);
    return count;
}

int main(int argc, char **argv)
{
    int failed = argc < 2;
    for (int at = 1; at < argc; at++)
        failed |= run_folder(argv[at]) == 0;
    return failed;
}
