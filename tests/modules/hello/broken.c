/* broken.c - modules that are wrong in one way each, chosen with -D:
 *
 *     NO_SYMBOL, WRONG_ABI, WRONG_MAGIC, WRONG_SIZE, NULL_MODULE, NULL_NAME, NULL_TASKS,
 *     NULL_TASK_NAME, CRASH_IN_INIT, ERROR_IN_INIT, BAD_FD, ODD_FDS
 */
#include "mpserverd.h"

#include <string.h>

#ifdef NO_SYMBOL
int not_a_module(void);
int not_a_module(void) {
    return 0;
}
#else

#ifndef NULL_TASKS
static int task(const mp_call *call) {
#if defined(BAD_FD) || defined(ODD_FDS)
    int number = -1;
#ifdef ODD_FDS
    size_t length = 1;
#else
    size_t length = sizeof number;
#endif
    call->reply(call->context, MP_FDS, (const uint8_t *)&number, length);
#endif
    call->reply(call->context, MP_VALUE, (const uint8_t *)"null", 4);
    return MP_OK;
}
#endif

static int init(void *context, mp_sink message) {
#ifdef CRASH_IN_INIT
    static int *volatile nowhere;
    *nowhere = 1;
#endif
#ifdef ERROR_IN_INIT
    const char *why = "init fails as asked";
    message(context, MP_MESSAGE, (const uint8_t *)why, strlen(why));
    return MP_FAILED;
#endif
    (void)context;
    (void)message;
    return MP_OK;
}

#ifndef NULL_TASKS
static const mp_task tasks[] = {
#ifdef NULL_TASK_NAME
    {NULL, "()", "", 0, task},
#else
    {"task", "()", "", 0, task},
#endif
};
#endif

static const mp_module module = {
#ifdef WRONG_MAGIC
    .magic = 0x12345678,
#else
    .magic = MP_MODULE_MAGIC,
#endif
#ifdef WRONG_ABI
    .abi = 99,
#else
    .abi = MP_ABI_VERSION,
#endif
#ifdef WRONG_SIZE
    .size = 16,
#else
    .size = sizeof(mp_module),
#endif
#ifndef NULL_NAME
    .name = "broken",
#endif
    .version = "1.0.0",
#ifdef NULL_TASKS
    .tasks = NULL,
    .tasks_len = 3,
#else
    .tasks = tasks,
    .tasks_len = 1,
#endif
    .init = init,
};

const mp_module *mp_module_v1(void) {
#ifdef NULL_MODULE
    (void)module;
    return NULL;
#else
    return &module;
#endif
}
#endif
