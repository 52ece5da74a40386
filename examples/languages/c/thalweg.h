// SmartModule ABI v1 for C without a libc: what docs/formats/smartmodule-abi.md says, and no more.
//
// A module includes this header in its one source file, exports its kind, and reads the records
// where the host put them. Everything here checks what it reads against the input's length: records
// come from producers, whom nobody trusts.
#ifndef THALWEG_H
#define THALWEG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// The linker would keep none of these functions, as nothing in the module calls them.
#define THALWEG_EXPORT(name) __attribute__((export_name(#name)))
#define THALWEG_IMPORT(name) __attribute__((import_module("thalweg"), import_name(#name)))

// ---- What the host offers

enum { THALWEG_ERROR = 1, THALWEG_WARNING = 2, THALWEG_INFORMATION = 3, THALWEG_DEBUG = 4 };

THALWEG_IMPORT(log) void thalweg_log(int32_t level, const char *text, uint32_t bytes);
THALWEG_IMPORT(panic) void thalweg_panic(const char *text, uint32_t bytes);

// ---- What the host gives and takes

// Little-endian, as wasm is, and without gaps: it is read where it lies.
typedef struct {
    int64_t base_offset;
    int64_t base_timestamp_ms;
    uint32_t record_count;
    uint32_t flags;
    uint32_t records_position;
    uint32_t records_bytes;
    uint32_t accumulator_position;
    uint32_t accumulator_bytes;
    uint32_t output_bytes_soft;
    uint32_t reserved;
    int64_t append_time_ms;
    uint64_t reserved_too;
} thalweg_input;
_Static_assert(sizeof(thalweg_input) == 64, "the input's header has 64 bytes");

// Every record has the timestamp `append_time_ms`. A module fails on flags that it does not know.
enum { THALWEG_APPEND_TIME = 1, THALWEG_FLAGS_KNOWN = THALWEG_APPEND_TIME };

enum { THALWEG_OK = 0, THALWEG_RECORD_FAILED = 1, THALWEG_FAILED = 2 };

typedef struct {
    uint32_t status;
    uint32_t consumed_count;
    const void *output;
    uint32_t output_bytes;
    uint32_t output_count;
    const char *message;
    uint32_t message_bytes;
    uint32_t reserved;
} thalweg_answer;
_Static_assert(sizeof(thalweg_answer) == 32, "an answer has 32 bytes");

// ---- Texts

typedef struct {
    const uint8_t *bytes;
    uint32_t length;
} thalweg_text;

static inline bool thalweg_equal(thalweg_text a, const char *b, uint32_t b_length) {
    if (a.length != b_length) return false;
    for (uint32_t i = 0; i < b_length; i++)
        if (a.bytes[i] != (uint8_t)b[i]) return false;
    return true;
}

// ---- Reading

// What is still to be read. After a failed read it is empty and `failed` is set, so that callers
// may read on and look once at the end.
typedef struct {
    const uint8_t *at;
    const uint8_t *end;
    bool failed;
} thalweg_reader;

static inline thalweg_text thalweg_take(thalweg_reader *from, uint64_t length) {
    if (length > (uint64_t)(from->end - from->at)) {
        from->failed = true;
        from->at = from->end;
        return (thalweg_text){from->at, 0};
    }
    thalweg_text taken = {from->at, (uint32_t)length};
    from->at += length;
    return taken;
}

static inline uint32_t thalweg_u32(thalweg_reader *from) {
    thalweg_text word = thalweg_take(from, 4);
    if (from->failed) return 0;
    return word.bytes[0] | word.bytes[1] << 8 | word.bytes[2] << 16 | (uint32_t)word.bytes[3] << 24;
}

// A zigzag varint: seven bits a byte, lowest first; 0, 1, 2, 3 stand for 0, -1, 1, -2.
static inline int64_t thalweg_varint(thalweg_reader *from) {
    uint64_t raw = 0;
    for (uint32_t shift = 0; shift < 64; shift += 7) {
        thalweg_text byte = thalweg_take(from, 1);
        if (from->failed) return 0;
        raw |= (uint64_t)(byte.bytes[0] & 0x7f) << shift;
        if (byte.bytes[0] < 0x80) return (int64_t)(raw >> 1) ^ -(int64_t)(raw & 1);
    }
    from->failed = true;
    return 0;
}

// A length and as many bytes; `*is_null` where the length is -1.
static inline thalweg_text thalweg_nullable(thalweg_reader *from, bool *is_null) {
    int64_t length = thalweg_varint(from);
    *is_null = length == -1;
    if (*is_null) return (thalweg_text){from->at, 0};
    // Another negative length is larger than anything once it has no sign.
    return thalweg_take(from, (uint64_t)length);
}

typedef struct {
    int64_t timestamp_delta;
    int64_t offset_delta;
    thalweg_text key;
    thalweg_text value;
    bool key_is_null;
    bool value_is_null;
} thalweg_record;

// Reads the next record; false when what lies there is none.
static inline bool thalweg_next(thalweg_reader *records, thalweg_record *record) {
    int64_t length = thalweg_varint(records);
    thalweg_text whole = thalweg_take(records, (uint64_t)length);
    if (records->failed) return false;
    thalweg_reader body = {whole.bytes, whole.bytes + whole.length, false};
    thalweg_take(&body, 1); // The attributes have no meaning yet.
    record->timestamp_delta = thalweg_varint(&body);
    record->offset_delta = thalweg_varint(&body);
    record->key = thalweg_nullable(&body, &record->key_is_null);
    record->value = thalweg_nullable(&body, &record->value_is_null);
    // What is left are the headers, which a filter need not look at.
    return !body.failed;
}

// ---- Memory

// Where the linker ended what it placed: from here on memory is the module's to use.
extern uint8_t __heap_base;

// Makes memory reach `end`; false when the host gives no more.
static inline bool thalweg_reach(uintptr_t end) {
    const uint32_t page_bytes = 65536;
    uintptr_t have = (uintptr_t)__builtin_wasm_memory_size(0) * page_bytes;
    if (end <= have) return true;
    size_t pages = (end - have + page_bytes - 1) / page_bytes;
    return __builtin_wasm_memory_grow(0, pages) != (size_t)-1;
}

#endif
