//! Keys of the doors: sizes and times of HTTP, WebSocket, server-sent events and publishing.

use std::time::Duration;

use super::key::{DURATION_MAX, Key, Kind, live};
use super::values::Values;
use crate::shard::options::{HttpOptions, PublishOptions, SseOptions, WebSocketOptions};

const MOMENT: Duration = Duration::from_millis(100);
const TIMEOUT: Kind = Kind::Duration { min: MOMENT, max: DURATION_MAX };
const MESSAGE_SIZE: Kind = Kind::Size { min: 128, max: 1 << 30 };

pub(super) const KEYS: &[Key] = &live([
    Key::new(
        "http.target_size_max",
        Kind::Size { min: 256, max: 1 << 20 },
        "8KiB",
        "Longest request target (path and query). Over it: 414.",
    ),
    Key::new(
        "http.head_size_max",
        Kind::Size { min: 512, max: 1 << 20 },
        "16KiB",
        "Largest request head, request line included. Over it: 431.",
    ),
    Key::new(
        "http.head_timeout",
        TIMEOUT,
        "10s",
        "Time for a request's head to arrive, from the accept or its first byte. Then: 408.",
    ),
    Key::new(
        "http.body_timeout",
        TIMEOUT,
        "30s",
        "Time for a request's body to arrive, from the end of its head. Then: 408.",
    ),
    Key::new(
        "http.idle_timeout",
        TIMEOUT,
        "75s",
        "Time a kept connection may stay without a request. Then it is closed. Keep it above the \
         idle time of a proxy in front, so that the proxy closes first.",
    ),
    Key::new(
        "http.pipeline_depth_max",
        Kind::Count { min: 1, max: 4096 },
        "64",
        "Requests of one connection that may wait for their answers. Further ones are not read yet.",
    ),
    Key::new(
        "websocket.message_size_max",
        MESSAGE_SIZE,
        "64KiB",
        "Largest message a client may send, frames together, inflated. Over it: close 1009.",
    ),
    Key::new(
        "websocket.ping_interval",
        TIMEOUT,
        "20s",
        "Silence of a client after which it is sent a ping. Below every application's \
         limits.idle_timeout.",
    ),
    Key::new(
        "websocket.close_timeout",
        TIMEOUT,
        "5s",
        "Time a client has to answer a close frame. Then the socket is closed.",
    ),
    Key::new(
        "sse.heartbeat_interval",
        TIMEOUT,
        "15s",
        "Silence on an event stream after which a comment line is sent, so that proxies keep it.",
    ),
    Key::new(
        "sse.retry_delay",
        Kind::Duration { min: Duration::ZERO, max: DURATION_MAX },
        "2s",
        "What event streams tell a client to wait before it reconnects (`retry:`).",
    ),
    Key::new(
        "sse.retry_jitter",
        Kind::Duration { min: Duration::ZERO, max: DURATION_MAX },
        "3s",
        "At most this much, at random for each client, is added to sse.retry_delay, so that those \
         who were cut off together do not come back together.",
    ),
    Key::new(
        "sse.topics_max",
        Kind::Count { min: 1, max: 65_536 },
        "256",
        "Most topics of one event stream. Over it: 400.",
    ),
    Key::new(
        "publish.messages_max",
        Kind::Count { min: 1, max: 65_536 },
        "1024",
        "Most messages of one publish request. Over it: 400.",
    ),
    Key::new(
        "publish.body_size_max",
        Kind::Size { min: 128, max: 1 << 30 },
        "4MiB",
        "Largest body of a publish request. Over it: 413.",
    ),
]);

pub(super) fn http(values: &Values) -> HttpOptions {
    HttpOptions {
        target_size_max: values.number("http.target_size_max"),
        head_size_max: values.number("http.head_size_max"),
        head_timeout: values.duration("http.head_timeout"),
        body_timeout: values.duration("http.body_timeout"),
        idle_timeout: values.duration("http.idle_timeout"),
        pipeline_depth_max: values.number("http.pipeline_depth_max"),
    }
}

pub(super) fn websocket(values: &Values) -> WebSocketOptions {
    WebSocketOptions {
        message_size_max: values.number("websocket.message_size_max"),
        ping_interval: values.duration("websocket.ping_interval"),
        close_timeout: values.duration("websocket.close_timeout"),
    }
}

pub(super) fn sse(values: &Values) -> SseOptions {
    SseOptions {
        heartbeat_interval: values.duration("sse.heartbeat_interval"),
        retry_delay: values.duration("sse.retry_delay"),
        retry_jitter: values.duration("sse.retry_jitter"),
        topics_max: values.number("sse.topics_max"),
    }
}

pub(super) fn publish(values: &Values) -> PublishOptions {
    PublishOptions {
        messages_max: values.number("publish.messages_max"),
        body_size_max: values.number("publish.body_size_max"),
    }
}

/// Relations between keys of this file.
pub(super) fn check(values: &mut Values) {
    let (target, head) = ("http.target_size_max", "http.head_size_max");
    let sound = values.is_sound(target) && values.is_sound(head);
    if sound && values.number(target) > values.number(head) {
        values.problem(target, format!("must not be above {head}, of which it is a part"));
    }
}
