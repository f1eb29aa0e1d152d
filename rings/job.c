/* SPDX-License-Identifier: MIT */
#include "rings/job.h"

const char *const job_class_names[CLASS_COUNT] = {"critical", "high", "normal", "low"};

const char *const job_kind_names[JOB_KIND_COUNT] = {
    [JOB_GET] = "get",           [JOB_HAVE] = "have",
    [JOB_PUT] = "put",           [JOB_DELETE] = "delete",
    [JOB_LIST] = "list",         [JOB_VERIFY] = "verify",
    [JOB_STAT] = "stat",         [JOB_HASH] = "hash",
    [JOB_STORE] = "store",       [JOB_HANDSHAKE] = "handshake",
    [JOB_GET_MANY] = "get_many", [JOB_PUT_MANY] = "put_many",
    [JOB_PIN] = "pin",           [JOB_UNPIN] = "unpin",
};

const char *const job_status_names[JOB_STATUS_COUNT] = {
    [JOB_OK] = "ok",           [JOB_ABSENT] = "absent",
    [JOB_BUSY] = "busy",       [JOB_RETRY] = "retry",
    [JOB_CORRUPT] = "corrupt", [JOB_REFUSED] = "refused",
    [JOB_EXPIRED] = "expired", [JOB_CANCELED] = "canceled",
    [JOB_FULL] = "full",       [JOB_READONLY] = "readonly",
    [JOB_FAILED] = "failed",
};
