/* mpserverd.h - modules for mpserverd in C (or any language that speaks C). ABI version 1.
 *
 * A module is a shared object that exports mp_module_v1(). Compile with
 *
 *     cc -O2 -fPIC -shared -o libhello.so hello.c
 *
 * and load it with `mpserverd --preload ./libhello.so`; run its tasks with `mpctl run hello.greet`.
 *
 * Rules: bytes in, bytes out; no exception or longjmp crosses the boundary; everything that the
 * descriptor points to is static. init and warm run once, in the template, which must stay
 * single-threaded and keep no socket open; after_fork runs in each worker before its task.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef MPSERVERD_H
#define MPSERVERD_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MP_MODULE_MAGIC 0x444d504dU /* "MPMD" */
#define MP_ABI_VERSION 1U

/* Codecs of arguments and result. JSON arguments are an array, one element an argument. */
#define MP_CODEC_BINCODE 1U
#define MP_CODEC_JSON 2U
#define MP_CODEC_POSTCARD 3U
#define MP_CODEC_CUSTOM 4U /* see codec_name */

/* What a task or hook returns. */
enum mp_status {
    MP_OK = 0,                /* value replied */
    MP_FAILED = 1,            /* the task's own error: message, and optionally a value, replied */
    MP_BAD_ARGUMENTS = 2,     /* did not run; message replied */
    MP_PANICKED = 3,          /* message (and location, backtrace) replied */
    MP_UNSERIALIZABLE = 4,    /* ran, result has no encoding; message replied */
    MP_UNSUPPORTED_CODEC = 5, /* did not run; names of those it speaks may be replied as message,
                                 one a line */
    MP_RESULT_TOO_LARGE = 6   /* ran, result exceeds the limit */
};

/* Channels of a sink. */
enum mp_channel {
    MP_VALUE = 0,
    MP_MESSAGE = 1,
    MP_LOCATION = 2,
    MP_BACKTRACE = 3,
    MP_FDS = 4 /* descriptors of handles in the value: an array of int, in the order of their slots;
                  the host duplicates them before it returns, and they stay the module's */
};

/* Takes bytes from the module and copies them before it returns. A second call on the same
 * channel appends. A host ignores channels that it does not know. */
typedef void (*mp_sink)(void *context, uint32_t channel, const uint8_t *bytes, size_t length);

typedef struct mp_call {
    size_t size;         /* of this struct on the host's side; later versions append fields */
    uint32_t codec;      /* MP_CODEC_... of arguments and result */
    uint32_t reserved;
    const uint8_t *args; /* encoded arguments */
    size_t args_len;
    const int *fds;      /* descriptors that came along; they belong to the host, except for the
                            last handles_len */
    size_t fds_len;
    mp_sink reply;
    void *context;       /* first argument of reply */
    const uint8_t *host; /* for the runtime of Rust modules; opaque */
    size_t host_len;
    /* How many of the last fds belong to handles in the arguments, in the order of their slots.
     * They are the module's from now on: close them when done with them. Only there if
     * MP_HAS_HANDLES(call): older hosts have no such field. */
    size_t handles_len;
    /* "name/version" of the codec if it is MP_CODEC_CUSTOM, else NULL. Only there if
     * MP_HAS_CODEC_NAME(call). */
    const char *codec_name;
} mp_call;

#define MP_HAS_HANDLES(call) \
    ((call)->size >= offsetof(mp_call, handles_len) + sizeof((call)->handles_len))
#define MP_HAS_CODEC_NAME(call) \
    ((call)->size >= offsetof(mp_call, codec_name) + sizeof((call)->codec_name))

typedef struct mp_task {
    const char *name;      /* unique in the module */
    const char *signature; /* for people: "(text: String) -> String" */
    const char *doc;       /* may be "" */
    uint64_t schema;       /* 0: unchecked */
    int (*run)(const mp_call *call);
} mp_task;

/* Returns MP_OK, or MP_FAILED with a text on MP_MESSAGE. */
typedef int (*mp_hook)(void *context, mp_sink message);

typedef struct mp_module {
    uint32_t magic; /* MP_MODULE_MAGIC */
    uint32_t abi;   /* MP_ABI_VERSION */
    size_t size;    /* sizeof(mp_module) */
    const char *name;
    const char *version;
    const mp_task *tasks;
    size_t tasks_len;
    mp_hook init;       /* or NULL */
    mp_hook warm;       /* or NULL */
    mp_hook after_fork; /* or NULL */
    mp_hook before_exit; /* or NULL: after the result was sent, before the process ends */
} mp_module;

/* The one exported symbol. */
const mp_module *mp_module_v1(void);

#ifdef __cplusplus
}
#endif
#endif
