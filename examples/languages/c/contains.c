// A SmartModule in C: keeps the records whose value contains a word (parameter `word`, ERROR unless
// given). A record without a value fails, which ends its stream with a message.
//
// There is no libc, and none is needed: a filter answers with one bit for each record and copies
// nothing.
#include "thalweg.h"

// ---- What the module keeps between calls

static char word[256] = "ERROR";
static uint32_t word_length = 5;

// The host copies answer and message out at once, so that one of each will do.
static thalweg_answer answer;
static char message[512];
static uint32_t message_length;

// Where the host writes its inputs, and behind it the bitmap of a call.
static uint8_t *input_buffer;
static uint8_t *bitmap;

// ---- Messages

static void say(const char *text, uint32_t length) {
    for (uint32_t i = 0; i < length && message_length < sizeof message; i++)
        message[message_length++] = text[i];
}
#define SAY(literal) say(literal, sizeof literal - 1)

static const thalweg_answer *failed(uint32_t status, uint32_t consumed_count) {
    answer.status = status;
    answer.consumed_count = consumed_count;
    answer.message = message;
    answer.message_bytes = message_length;
    return &answer;
}

static void begin(void) {
    answer = (thalweg_answer){0};
    message_length = 0;
}

// ---- Exports

// Says which version of the ABI this is. Never called.
THALWEG_EXPORT(thalweg_abi_v1) void abi_v1(void) {}

// The host keeps one buffer, so that a larger one may take the place of the last.
THALWEG_EXPORT(thalweg_alloc) void *alloc(uint32_t bytes) {
    // A record has seven bytes at the least, so that an eighth of the input holds a bit for each.
    uint64_t end = (uint64_t)(uintptr_t)&__heap_base + bytes + bytes / 8 + 1;
    if (end > UINT32_MAX || !thalweg_reach((uintptr_t)end)) return NULL;
    input_buffer = &__heap_base;
    bitmap = input_buffer + bytes;
    return input_buffer;
}

// Takes the parameters: a count, then names and values.
THALWEG_EXPORT(thalweg_init)
const thalweg_answer *init(const uint8_t *input, uint32_t bytes) {
    begin();
    thalweg_reader params = {input, input + bytes, false};
    uint32_t count = thalweg_u32(&params);
    for (uint32_t i = 0; i < count && !params.failed; i++) {
        thalweg_text name = thalweg_take(&params, thalweg_u32(&params));
        thalweg_text value = thalweg_take(&params, thalweg_u32(&params));
        if (!thalweg_equal(name, "word", 4)) {
            SAY("there is no parameter `");
            say((const char *)name.bytes, name.length);
            SAY("`, only `word`");
            return failed(THALWEG_FAILED, 0);
        }
        if (value.length == 0 || value.length > sizeof word) {
            SAY("`word` must have 1 to 256 bytes");
            return failed(THALWEG_FAILED, 0);
        }
        for (uint32_t j = 0; j < value.length; j++) word[j] = (char)value.bytes[j];
        word_length = value.length;
    }
    if (params.failed) {
        SAY("the parameters end early");
        return failed(THALWEG_FAILED, 0);
    }
    SAY("keeping what contains ");
    say(word, word_length);
    thalweg_log(THALWEG_INFORMATION, message, message_length);
    return &answer;
}

static bool contains(thalweg_text text) {
    if (text.length < word_length) return false;
    for (uint32_t start = 0; start <= text.length - word_length; start++) {
        thalweg_text here = {text.bytes + start, word_length};
        if (thalweg_equal(here, word, word_length)) return true;
    }
    return false;
}

// The kind: given a batch of records, answers which ones are kept.
THALWEG_EXPORT(thalweg_filter)
const thalweg_answer *filter(const thalweg_input *input, uint32_t bytes) {
    begin();
    if (input->flags & ~(uint32_t)THALWEG_FLAGS_KNOWN) {
        SAY("built for an older host: the input has flags that this module does not know");
        return failed(THALWEG_FAILED, 0);
    }
    const uint8_t *start = (const uint8_t *)input;
    thalweg_reader whole = {start, start + bytes, false};
    thalweg_take(&whole, input->records_position);
    thalweg_text section = thalweg_take(&whole, input->records_bytes);
    thalweg_reader records = {section.bytes, section.bytes + section.length, whole.failed};

    answer.output = bitmap;
    for (uint32_t index = 0; index < input->record_count; index++) {
        thalweg_record record;
        if (!thalweg_next(&records, &record)) {
            SAY("the records do not parse");
            return failed(THALWEG_FAILED, 0);
        }
        if (record.value_is_null) {
            SAY("a record without a value contains nothing");
            // The bits so far are the answer for the records before this one.
            return failed(THALWEG_RECORD_FAILED, index);
        }
        if (index % 8 == 0) {
            bitmap[index / 8] = 0;
            answer.output_bytes = index / 8 + 1;
        }
        if (contains(record.value)) {
            bitmap[index / 8] |= (uint8_t)(1 << index % 8);
            answer.output_count++;
        }
    }
    answer.consumed_count = input->record_count;
    return &answer;
}
