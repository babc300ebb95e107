/* python.c: asks the interpreter, which alone knows its paths. */
#include "python.h"

#include <stdio.h>
#include <string.h>

kp_status kp_python_package(const char *python, const char *package, char *dir, size_t size,
                            kp_err *err) {
    char command[1024], line[900] = "";
    snprintf(
        command, sizeof command,
        "'%s' -c 'import importlib.util as u;print(u.find_spec(\"%s\").submodule_search_locations[0])'"
        " 2>/dev/null",
        python, package);
    FILE *f = popen(command, "r");
    if (f && !fgets(line, sizeof line, f)) line[0] = 0;
    int rc = f ? pclose(f) : -1;
    line[strcspn(line, "\n")] = 0;
    if (rc || !line[0] || strlen(line) >= size)
        return kp_fail(err, KP_DEVICE, "%s: no package %s", python, package);
    strcpy(dir, line);
    return KP_OK;
}
