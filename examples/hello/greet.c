/* Writes a greeting to the file named on the command line. */
#include <stdio.h>

int main(int argc, char **argv)
{
    FILE *file = argc > 1 ? fopen(argv[1], "w") : NULL;
    if (file == NULL) {
        fprintf(stderr, "usage: greet FILE (a file that can be written)\n");
        return 1;
    }
    fputs("hello from a container built by kiln\n", file);
    puts("greeting written");
    return fclose(file) == 0 ? 0 : 1;
}
