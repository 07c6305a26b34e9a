#include "wire.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

static char *room(struct out *out, size_t more)
{
    if (out->length + more > out->room) {
        out->room = (out->length + more) * 2 + 128;
        out->data = realloc(out->data, out->room);
        if (!out->data)
            abort();
    }
    char *at = out->data + out->length;
    out->length += more;
    return at;
}

void put_u32(struct out *out, uint32_t value)
{
    value = htobe32(value);
    memcpy(room(out, 4), &value, 4);
}

void put_u64(struct out *out, uint64_t value)
{
    value = htobe64(value);
    memcpy(room(out, 8), &value, 8);
}

void put_raw(struct out *out, const void *bytes, size_t length)
{
    size_t padded = (length + 3) & ~(size_t)3;
    char *at = room(out, padded);
    memcpy(at, bytes, length);
    memset(at + length, 0, padded - length);
}

void put_opaque(struct out *out, const void *bytes, size_t length)
{
    put_u32(out, length);
    put_raw(out, bytes, length);
}

void put_string(struct out *out, const char *text)
{
    put_opaque(out, text, strlen(text));
}

const void *get_raw(struct in *in, size_t length)
{
    static const char nothing[64];
    size_t padded = (length + 3) & ~(size_t)3;
    if (in->bad || padded > (size_t)(in->end - in->at)) {
        in->bad = true;
        return nothing;
    }
    const char *at = in->at;
    in->at += padded;
    return at;
}

uint32_t get_u32(struct in *in)
{
    uint32_t value;
    memcpy(&value, get_raw(in, 4), 4);
    return be32toh(value);
}

uint64_t get_u64(struct in *in)
{
    uint64_t value;
    memcpy(&value, get_raw(in, 8), 8);
    return be64toh(value);
}

const void *get_opaque(struct in *in, uint32_t *length)
{
    *length = get_u32(in);
    const void *bytes = get_raw(in, *length);
    if (in->bad)
        *length = 0;
    return bytes;
}
