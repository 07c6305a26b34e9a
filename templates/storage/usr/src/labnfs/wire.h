/* XDR, as NFS puts it on the wire: a growing buffer to write, a bounded view to read. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct out {
    char *data;
    size_t length, room;
};

void put_u32(struct out *out, uint32_t value);
void put_u64(struct out *out, uint64_t value);
/* Bytes without a length before them, padded to four. */
void put_raw(struct out *out, const void *bytes, size_t length);
/* Bytes with their length before them. */
void put_opaque(struct out *out, const void *bytes, size_t length);
void put_string(struct out *out, const char *text);

/* What is read past the end is zero and sets `bad`. */
struct in {
    const char *at, *end;
    bool bad;
};

uint32_t get_u32(struct in *in);
uint64_t get_u64(struct in *in);
const void *get_raw(struct in *in, size_t length);
const void *get_opaque(struct in *in, uint32_t *length);
