/* hello.c - a module in C: three tasks that speak JSON, and nothing but.
 *
 *     cc -O2 -fPIC -shared -I client/include -o libhello.so tests/modules/hello/hello.c
 *     mpctl run --module ./libhello.so hello.greet World
 *
 * Arguments are a JSON array of strings and integers. The reader below accepts exactly that, checks
 * every byte it looks at against the end of the text, and needs no memory but what it returns.
 */
#include "mpserverd.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *greeting; /* set by init */

/* --- replies ------------------------------------------------------------------------------ */

static void reply(const mp_call *call, uint32_t channel, const char *text, size_t length) {
    call->reply(call->context, channel, (const uint8_t *)text, length);
}

static int complain(const mp_call *call, int status, const char *why) {
    reply(call, MP_MESSAGE, why, strlen(why));
    return status;
}

/* Appends a JSON string, in as few pieces as its escapes allow. */
static void reply_json(const mp_call *call, const char *text, size_t length) {
    size_t begun = 0;
    for (size_t at = 0; at < length; at++) {
        unsigned char c = (unsigned char)text[at];
        char escape[8];
        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        reply(call, MP_VALUE, text + begun, at - begun);
        begun = at + 1;
        reply(call, MP_VALUE, escape, (size_t)snprintf(escape, sizeof escape, "\\u%04x", c));
    }
    reply(call, MP_VALUE, text + begun, length - begun);
}

/* --- arguments ---------------------------------------------------------------------------- */

typedef struct reader {
    const unsigned char *at;
    const unsigned char *end;
    int count; /* arguments read so far */
    const char *error;
} reader;

static int fail(reader *in, const char *why) {
    if (!in->error)
        in->error = why;
    return 0;
}

static void skip_space(reader *in) {
    while (in->at < in->end && strchr(" \t\r\n", *in->at) && *in->at)
        in->at++;
}

static int take(reader *in, unsigned char wanted) {
    skip_space(in);
    if (in->at == in->end || *in->at != wanted)
        return 0;
    in->at++;
    return 1;
}

/* Goes to the next argument: past '[' the first time, past ',' later. */
static int next(reader *in) {
    unsigned char mark = in->count ? ',' : '[';
    if (!take(in, mark))
        return fail(in, in->count ? "too few arguments" : "not a JSON array");
    skip_space(in);
    if (in->at < in->end && *in->at == ']')
        return fail(in, "too few arguments");
    in->count++;
    return 1;
}

static int finish(reader *in) {
    if (in->error)
        return 0;
    if (take(in, ','))
        return fail(in, "too many arguments");
    if (!take(in, ']'))
        return fail(in, "expected , or ] after an argument");
    skip_space(in);
    return in->at == in->end ? 1 : fail(in, "something follows the arguments");
}

static int hex4(reader *in, uint32_t *code) {
    *code = 0;
    for (int i = 0; i < 4; i++, in->at++) {
        static const char digits[] = "0123456789abcdef";
        const char *digit;
        if (in->at == in->end)
            return fail(in, "a \\u escape is cut short");
        digit = *in->at ? strchr(digits, *in->at | (*in->at >= 'A' ? 0x20 : 0)) : NULL;
        if (!digit)
            return fail(in, "a \\u escape has a digit that is none");
        *code = *code << 4 | (uint32_t)(digit - digits);
    }
    return 1;
}

/* The code point of a \u escape, surrogate pairs included. */
static int code_point(reader *in, uint32_t *code) {
    uint32_t low;
    if (!hex4(in, code))
        return 0;
    if (*code >= 0xdc00 && *code < 0xe000)
        return fail(in, "a lone surrogate");
    if (*code < 0xd800 || *code >= 0xdc00)
        return 1;
    if (in->end - in->at < 2 || in->at[0] != '\\' || in->at[1] != 'u')
        return fail(in, "a lone surrogate");
    in->at += 2;
    if (!hex4(in, &low))
        return 0;
    if (low < 0xdc00 || low >= 0xe000)
        return fail(in, "a lone surrogate");
    *code = 0x10000 + ((*code - 0xd800) << 10) + (low - 0xdc00);
    return 1;
}

static char *put_utf8(char *out, uint32_t code) {
    if (code < 0x80) {
        *out++ = (char)code;
        return out;
    }
    if (code < 0x800) {
        *out++ = (char)(0xc0 | code >> 6);
    } else {
        if (code < 0x10000) {
            *out++ = (char)(0xe0 | code >> 12);
        } else {
            *out++ = (char)(0xf0 | code >> 18);
            *out++ = (char)(0x80 | (code >> 12 & 0x3f));
        }
        *out++ = (char)(0x80 | (code >> 6 & 0x3f));
    }
    *out++ = (char)(0x80 | (code & 0x3f));
    return out;
}

/* One character of a string; `*out` moves on. Never writes more bytes than it reads. */
static int character(reader *in, char **out) {
    static const char escapes[] = "\"\\/bfnrt", means[] = "\"\\/\b\f\n\r\t";
    const char *escape;
    uint32_t code;
    unsigned char c = *in->at++;
    if (c < 0x20)
        return fail(in, "a control character in a string");
    if (c != '\\') {
        *(*out)++ = (char)c;
        return 1;
    }
    if (in->at == in->end)
        return fail(in, "a string is cut short");
    c = *in->at++;
    if (c == 'u') {
        if (!code_point(in, &code))
            return 0;
        *out = put_utf8(*out, code);
        return 1;
    }
    escape = c ? strchr(escapes, c) : NULL;
    if (!escape)
        return fail(in, "an unknown escape in a string");
    *(*out)++ = means[escape - escapes];
    return 1;
}

/* A string argument, to be freed; NULL with an error. */
static char *string_argument(reader *in, size_t *length) {
    char *text, *out;
    if (!next(in))
        return NULL;
    if (!take(in, '"')) {
        fail(in, "expected a string");
        return NULL;
    }
    text = out = malloc((size_t)(in->end - in->at) + 1);
    if (!text) {
        fail(in, "out of memory");
        return NULL;
    }
    while (in->at < in->end && *in->at != '"')
        if (!character(in, &out)) {
            free(text);
            return NULL;
        }
    if (!take(in, '"')) {
        fail(in, "a string is cut short");
        free(text);
        return NULL;
    }
    *length = (size_t)(out - text);
    *out = '\0';
    return text;
}

static int integer_argument(reader *in, int64_t *value) {
    char digits[24];
    size_t length = 0;
    char *rest;
    long long number;
    if (!next(in))
        return 0;
    while (in->at < in->end && *in->at && strchr("+-.0123456789eE", *in->at)) {
        if (length == sizeof digits - 1)
            return fail(in, "an integer is too long");
        digits[length++] = (char)*in->at++;
    }
    digits[length] = '\0';
    errno = 0;
    number = strtoll(digits, &rest, 10);
    if (length == 0 || *rest || digits[0] == '+')
        return fail(in, "expected an integer");
    if (errno || number < INT64_MIN || number > INT64_MAX)
        return fail(in, "an integer does not fit 64 bits");
    *value = number;
    return 1;
}

/* --- tasks -------------------------------------------------------------------------------- */

/* A reader of a call's arguments; the call must be in JSON. */
static int begin(const mp_call *call, reader *in) {
    if (call->codec != MP_CODEC_JSON)
        return MP_UNSUPPORTED_CODEC;
    *in = (reader){call->args, call->args + call->args_len, 0, NULL};
    return MP_OK;
}

static int greet(const mp_call *call) {
    reader in;
    size_t length;
    char *name;
    int status = begin(call, &in);
    if (status != MP_OK)
        return status;
    name = string_argument(&in, &length);
    if (!name || !finish(&in)) {
        free(name);
        return complain(call, MP_BAD_ARGUMENTS, in.error);
    }
    if (!greeting) {
        free(name);
        return complain(call, MP_FAILED, "init has not run");
    }
    reply(call, MP_VALUE, "\"", 1);
    reply_json(call, greeting, strlen(greeting));
    reply(call, MP_VALUE, ", ", 2);
    reply_json(call, name, length);
    reply(call, MP_VALUE, "!\"", 2);
    free(name);
    return MP_OK;
}

static int add(const mp_call *call) {
    reader in;
    int64_t a, b, sum;
    char text[24];
    int status = begin(call, &in);
    if (status != MP_OK)
        return status;
    if (!integer_argument(&in, &a) || !integer_argument(&in, &b) || !finish(&in))
        return complain(call, MP_BAD_ARGUMENTS, in.error);
    if (__builtin_add_overflow(a, b, &sum))
        return complain(call, MP_FAILED, "the sum does not fit 64 bits");
    reply(call, MP_VALUE, text, (size_t)snprintf(text, sizeof text, "%lld", (long long)sum));
    return MP_OK;
}

static int fail_with(const mp_call *call) {
    reader in;
    size_t length;
    char *text;
    int status = begin(call, &in);
    if (status != MP_OK)
        return status;
    text = string_argument(&in, &length);
    if (!text || !finish(&in)) {
        free(text);
        return complain(call, MP_BAD_ARGUMENTS, in.error);
    }
    reply(call, MP_MESSAGE, text, length);
    free(text);
    return MP_FAILED;
}

/* --- the module --------------------------------------------------------------------------- */

static int init(void *context, mp_sink message) {
    (void)context;
    (void)message;
    greeting = "Hello";
    return MP_OK;
}

static const mp_task tasks[] = {
    {"greet", "(name: String) -> String", "Greets somebody.", 0, greet},
    {"add", "(a: i64, b: i64) -> i64", "Adds two integers; fails on overflow.", 0, add},
    {"fail", "(text: String)", "Fails with this text.", 0, fail_with},
};

static const mp_module module = {
    .magic = MP_MODULE_MAGIC,
    .abi = MP_ABI_VERSION,
    .size = sizeof(mp_module),
    .name = "hello",
    .version = "1.0.0",
    .tasks = tasks,
    .tasks_len = sizeof tasks / sizeof *tasks,
    .init = init,
};

const mp_module *mp_module_v1(void) {
    return &module;
}
