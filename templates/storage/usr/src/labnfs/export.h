/* Finding the export: the server's ports, the handle of its root, how much it takes at once. */
#pragma once
#include "files.h"

/* Fills in the server's port, `root`, `read_size`, `write_size`. False after "failed LAYER: message" was printed. */
bool find_export(struct server *server, char **paths);
