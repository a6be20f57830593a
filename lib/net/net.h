/* net.h - the client's side of the API: mutual TLS, retries that do nothing twice, errors as struct
 * bt_err. The only folder that sees libcurl.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A call is repeated while there is time when the connection breaks or the server answers 429,
 * 502, 503 or 504: POST and PUT carry the same Idempotency-Key (or the id in their body) each time,
 * so repeating is harmless. Waits grow from 0.1 to 5 s with full jitter.
 *
 * A client keeps its connection open between calls and belongs to one thread at a time. */
#ifndef BT_NET_NET_H
#define BT_NET_NET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/err.h"
#include "lib/base/uuid.h"

struct net_client;

struct net_settings {
    const char *url;       /* "https://127.0.0.1:8443"; copied, as are the others */
    const char *ca_file;   /* the facility's root: nobody else is believed; NULL only for http:// */
    const char *cert_file; /* leaf and intermediate; NULL: no identity (enrolment, public pages) */
    const char *key_file;
    /* "host:port" of a relay of TCP connections to which all of them go; certificates are still
     * those of url's host. NULL: straight to url */
    const char *relay;
    const char *program;       /* for User-Agent; may be NULL */
    int deadline_ms;           /* of a call with all its retries; 0: 60 s */
    int unreachable_ms;        /* gives up when no connection came about for this long; 0: 5 s */
    const atomic_bool *cancel; /* when it becomes true a call ends within a second; may be NULL */
};

/* BT_ERR_INVALID for settings that make no sense, BT_ERR_NOT_FOUND for files that are not there. */
int net_client_new(const struct net_settings *settings, struct net_client **ret,
                   struct bt_err *err) BT_MUSTUSE;
void net_client_free(struct net_client *c);

struct net_request {
    const char *method; /* "GET" if NULL */
    const char *path;   /* "/v1/jobs?limit=10", already escaped (net_escape) */
    const char *type;   /* of the body; JSON if NULL */
    const void *body;   /* borrowed; NULL: none */
    size_t n;
    const struct bt_uuid *id;  /* the Idempotency-Key; NULL: a fresh one for POST and PUT */
    const char *if_none_match; /* an ETag; then status 304 is success. NULL: none */
    int deadline_ms;           /* 0: the client's */
    bool once;                 /* no retries */
    bool follow;               /* to where the server sends, three times at most; only by a client
                                * without a certificate, for it is for other servers too */
    /* Gets the body of a 2xx piece by piece instead of net_reply.body; negative ends the call with
     * that code. A broken stream is not retried: the caller asks on from where it is. */
    int (*sink)(void *arg, const void *p, size_t n);
    void *sink_arg;
};

struct net_reply {
    int status;
    char *body; /* owned; text or bytes, NUL-ended; NULL if empty. A problem's document too */
    size_t n;
    char request_id[BT_UUID_TEXT];
    char etag[72];
    char location[512];
    int64_t offset; /* Beamtime-Offset, -1 if absent */
    int64_t have;   /* Beamtime-Have, or "have" of a JSON body; -1 if absent */
    bool eof;       /* Beamtime-Eof: 1 */
    int tries;
};

void net_reply_done(struct net_reply *reply);

/* 0 for 2xx (and 304 as asked). Else the error that the server's problem document names, with
 * reply->status, request_id and body filled; or, without an answer, BT_ERR_UNREACHABLE,
 * BT_ERR_UNAUTHENTICATED (the client's certificate is unusable), BT_ERR_SIGNATURE (the server's
 * is not of this facility), BT_ERR_UNKNOWN_OUTCOME (a write was sent and its answer lost),
 * BT_ERR_TIMEOUT (a read), BT_ERR_TOO_LARGE. *reply is always to be released. */
int net_call(struct net_client *c, const struct net_request *request, struct net_reply *reply,
             struct bt_err *err) BT_MUSTUSE;

/* Shorthand: GET path, or POST text. */
int net_get(struct net_client *c, const char *path, struct net_reply *reply,
            struct bt_err *err) BT_MUSTUSE;
int net_post(struct net_client *c, const char *path, const char *json, struct net_reply *reply,
             struct bt_err *err) BT_MUSTUSE;

/* Uploads size bytes of fd to an agent's PUT blob route, in parts, from where the server already
 * is; returns when the server has verified the whole. `path` is "/v1/agent/blobs/<sha256>".
 * BT_ERR_CONFLICT if the bytes do not have that SHA-256. */
int net_upload(struct net_client *c, const char *path, int fd, int64_t size,
               struct bt_err *err) BT_MUSTUSE;

/* Appends s with everything but unreserved characters (RFC 3986) escaped. */
struct bt_buf;
void net_escape(struct bt_buf *to, const char *s);

#endif
