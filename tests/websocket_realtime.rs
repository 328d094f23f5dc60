//! The Realtime WebSocket, frame by frame (protocols.md §1, RFC 6455, RFC 7692).

use std::io::Write as _;

mod support;

use support::{Broker, Frame, WebSocket, frame, json, on_each, on_each_with, position, post};

fn publish(topic: &str, fields: &str) -> String {
    format!(r#"{{"type":"publish","data":{{"topic":"{topic}",{fields}}}}}"#)
}

#[test]
fn welcomes_envelopes_and_acks_are_exact() {
    on_each(|broker| {
        let mut socket = WebSocket::begin({
            let mut http = broker.http();
            http.send(upgrade("/apps/demo"));
            http
        });
        let welcome = socket.text();
        let id = json(&welcome)["data"]["connection"]["id"].as_str().unwrap().to_owned();
        assert!(id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
        let connection = format!(
            r#""data":{{"connection":{{"id":"{id}","appId":"demo","remoteAddress":"127.0.0.1"}}}}"#
        );
        assert_eq!(welcome, format!(r#"{{"topic":"main","messageType":"welcome",{connection}}}"#));
        socket.send(r#"{"type":"subscribe","data":{"topic":"a/\"b\""}}"#);
        let expected = format!(r#"{{"topic":"a/\"b\"","messageType":"welcome",{connection}}}"#);
        assert_eq!(socket.text(), expected);

        // From HTTP: the payload alone, byte for byte.
        let body = r#"{"topic":"a/\"b\"","message":{"z":1.50,  "a":[1e3,"\u00e9"]}}"#;
        post(&mut broker.http(), "/api/topics/demo/publish", body.as_bytes());
        let expected = r#"{"topic":"a/\"b\"","messageType":"broadcast","data":{"z":1.50,  "a":[1e3,"\u00e9"]}}"#;
        assert_eq!(socket.text(), expected);

        // From a WebSocket: the publisher's wrapper, an ack at data.data and the echo.
        socket.send(&publish(r#"a/\"b\""#, r#""messageType":"x","payload":{"n": 1},"id":"my.id""#));
        let client =
            format!(r#""client":{{"connectionId":"{id}","subject":"{id}","permissions":[]}}"#);
        let echo = format!(
            r#"{{"topic":"a/\"b\"","messageType":"x","data":{{{client},"payload":{{"n": 1}},"id":"my.id"}}}}"#
        );
        let ack = r#"{"topic":"priv/acks","messageType":"ack","data":{"data":"my.id"}}"#;
        let mut got = [socket.text(), socket.text()];
        got.sort_by_key(|text| text.contains("priv/acks"));
        assert_eq!(got, [echo, ack.to_owned()]);
        socket.expect_silence();
    });
}

#[test]
fn odd_payloads_and_absent_types_are_taken() {
    on_each(|broker| {
        let mut socket = broker.websocket();
        socket.subscribe("t");
        for (fields, kind, payload) in [
            (r#""payload":"""#, "broadcast", "\"\""),
            (r#""payload":null"#, "broadcast", "null"),
            (r#""messageType":null,"payload":0"#, "broadcast", "0"),
            (
                r#""messageType":null,"compress":null,"id":null,"payload":false"#,
                "broadcast",
                "false",
            ),
            (r#""messageType":"","payload":-0"#, "", "-0"),
            (
                r#""payload":123456789012345678901234567890"#,
                "broadcast",
                "123456789012345678901234567890",
            ),
            (r#""payload":{ "b" : 1 , "a" : 2 }"#, "broadcast", r#"{ "b" : 1 , "a" : 2 }"#),
            (r#""payload":"\ud83d\ude00\u0000""#, "broadcast", r#""\ud83d\ude00\u0000""#),
        ] {
            socket.send(&publish("t", fields));
            let mut got = [socket.text(), socket.text()];
            got.sort_by_key(|text| text.contains("priv/acks"));
            let start = format!(r#"{{"topic":"t","messageType":"{kind}","data":{{"client":{{"#);
            assert!(got[0].starts_with(&start), "{}", got[0]);
            // An id of the broker's own stands in both, 32 hex digits.
            let id = json(&got[1])["data"]["data"].as_str().unwrap().to_owned();
            assert!(id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
            let end = format!(r#""payload":{payload},"id":"{id}"}}}}"#);
            assert!(got[0].ends_with(&end), "{} does not end in {end}", got[0]);
        }
    });
}

#[test]
fn every_connection_hears_its_private_topic_from_every_shard() {
    on_each(|broker| {
        let mut sockets = broker.websockets();
        let ids: Vec<String> = sockets.iter().map(|socket| socket.id.clone()).collect();
        for from in 0..sockets.len() {
            for (to, id) in ids.iter().enumerate() {
                let fields =
                    format!(r#""messageType":"response","payload":[{from},{to}],"id":"q""#);
                sockets[from].send(&publish(&format!("priv/{id}"), &fields));
                if from != to {
                    assert_eq!(sockets[from].value()["topic"], "priv/acks");
                }
                let mut got = sockets[to].value();
                if from == to && got["topic"] == "priv/acks" {
                    got = sockets[to].value();
                } else if from == to {
                    assert_eq!(sockets[to].value()["topic"], "priv/acks");
                }
                assert_eq!(got["topic"], format!("priv/{id}"));
                assert_eq!(got["messageType"], "response");
                assert_eq!(got["data"]["client"]["connectionId"], ids[from]);
                assert_eq!(got["data"]["payload"], serde_json::json!([from, to]));
            }
        }
        // By HTTP too, and to nobody at all.
        let body = format!(r#"{{"topic":"priv/{}","message":"hi"}}"#, ids[0]);
        post(&mut broker.http(), "/api/topics/demo/publish", body.as_bytes());
        assert_eq!(sockets[0].value()["data"], "hi");
        let nobody = format!(r#"{{"topic":"priv/{}","message":"hi"}}"#, "0".repeat(32));
        post(&mut broker.http(), "/api/topics/demo/publish", nobody.as_bytes());
        for socket in &mut sockets {
            socket.expect_silence();
        }
    });
}

#[test]
fn unsubscribing_stops_delivery_and_subscribing_twice_delivers_once() {
    on_each(|broker| {
        for topic in broker.topics("u") {
            let mut socket = broker.websocket();
            let mut http = broker.http();
            let path = format!("/v1/demo/topics/{topic}");
            socket.subscribe(&topic);
            socket.subscribe(&topic);
            post(&mut http, &path, b"one");
            assert_eq!(socket.value()["data"], "one");
            socket.expect_silence();
            socket.send(&format!(r#"{{"type":"unsubscribe","data":{{"topic":"{topic}"}}}}"#));
            socket.expect_silence();
            post(&mut http, &path, b"two");
            socket.send(&format!(r#"{{"type":"unsubscribe","data":{{"topic":"{topic}"}}}}"#));
            socket.expect_silence();
            socket.subscribe(&topic);
            post(&mut http, &path, b"three");
            assert_eq!(socket.value()["data"], "three");
            socket.send(r#"{"type":"unsubscribe","data":{"topic":"main"}}"#);
            socket.send(r#"{"type":"unsubscribe","data":{"topic":"never-subscribed"}}"#);
            socket.expect_silence();
            post(&mut http, "/v1/demo/topics/main", b"x");
            socket.expect_silence();
        }
    });
}

#[test]
fn positions_are_added_on_request_and_increase() {
    on_each(|broker| {
        let mut socket = WebSocket::open(broker.connect(), "/apps/demo?positions=1");
        let mut last = vec![0; usize::from(broker.variant.shards)];
        for topic in broker.topics("p") {
            let welcome = socket.subscribe(&topic);
            let (home, at) = position(welcome["position"].as_str().unwrap());
            last[usize::from(home)] = at;
            let mut http = broker.http();
            for n in 0..20 {
                let path = format!("/v1/demo/topics/{topic}");
                let receipt = json(post(&mut http, &path, n.to_string().as_bytes()).body);
                let text = socket.text();
                let got = json(&text);
                assert_eq!((&got["id"], &got["position"]), (&receipt["id"], &receipt["position"]));
                let expected = format!(
                    r#"{{"topic":"{topic}","messageType":"broadcast","data":"{n}","id":{},"position":{}}}"#,
                    receipt["id"], receipt["position"]
                );
                assert_eq!(text, expected);
                let (same, offset) = position(got["position"].as_str().unwrap());
                assert_eq!(same, home);
                assert!(offset > last[usize::from(home)]);
                last[usize::from(home)] = offset;
            }
        }
    });
}

#[test]
fn what_cannot_be_read_closes_with_the_platforms_reason() {
    on_each(|broker| {
        let deep = "[".repeat(1000) + &"]".repeat(1000);
        let long = "x".repeat(256);
        let topic_too_long = format!(r#"{{"type":"subscribe","data":{{"topic":"{long}"}}}}"#);
        let deep = format!(r#"{{"type":"publish","data":{{"topic":"t","payload":{deep}}}}}"#);
        for text in [
            "",
            "hello",
            "{}",
            "[]",
            "null",
            r#"{"type":"subscribe"}"#,
            r#"{"type":"subscribe","data":{}}"#,
            r#"{"type":"subscribe","data":{"topic":""}}"#,
            r#"{"type":"subscribe","data":{"topic":7}}"#,
            r#"{"type":"subscribe","data":{"topic":"a\nb"}}"#,
            topic_too_long.as_str(),
            r#"{"type":"subscribe","data":{"topic":"a"}} x"#,
            r#"{"type":"subscribe","type":"subscribe","data":{"topic":"a"}}"#,
            r#"{"type":"Subscribe","data":{"topic":"a"}}"#,
            r#"{"type":"unknown","data":{"topic":"a"}}"#,
            r#"{"type":"publish","data":{"topic":"a"}}"#,
            r#"{"type":"publish","data":{"payload":1}}"#,
            r#"{"type":"publish","data":{"topic":"a","payload":01}}"#,
            r#"{"type":"publish","data":{"topic":"a","payload":1,"messageType":1}}"#,
            r#"{"type":"publish","data":{"topic":"a","payload":1,"compress":1}}"#,
            r#"{"type":"publish","data":{"topic":"a","payload":1,"id":1}}"#,
            deep.as_str(),
        ] {
            let mut socket = broker.websocket();
            socket.send(text);
            let expected = (1008, "Invalid message format!".to_owned());
            assert_eq!(socket.expect_close(), expected, "{text}");
        }
        let mut socket = broker.websocket();
        socket.send_bytes(&frame(true, 2, br#"{"type":"subscribe","data":{"topic":"a"}}"#));
        assert_eq!(socket.expect_close(), (1008, "Invalid message format!".to_owned()));
    });
}

#[test]
fn broken_frames_close_with_the_standards_codes() {
    on_each(|broker| {
        let unmasked = [0x81, 1, b'x'].to_vec();
        let unfinished = [frame(false, 1, b"a"), frame(true, 1, b"b")].concat();
        let mut long_ping = frame(true, 9, &[0; 126]);
        long_ping.truncate(6);
        let not_minimal = [0x81, 0x80 | 0x7e, 0, 5, 0, 0, 0, 0].to_vec();
        let top_bit = [0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4].to_vec();
        for (what, bytes, code) in [
            ("unmasked", unmasked, 1002),
            ("reserved bit", with_first(0xc1, b"x"), 1002),
            ("reserved bit 3", with_first(0x91, b"x"), 1002),
            ("opcode 3", frame(true, 3, b""), 1002),
            ("opcode 11", frame(true, 11, b""), 1002),
            ("a lone continuation", frame(true, 0, b"x"), 1002),
            ("a message inside another", unfinished, 1002),
            ("a fragmented ping", frame(false, 9, b"x"), 1002),
            ("a long ping", long_ping, 1002),
            ("a length not minimal", not_minimal, 1002),
            ("a length of 64 bits", top_bit, 1002),
            ("a close of one byte", frame(true, 8, b"x"), 1002),
            ("a close code of 1005", frame(true, 8, &1005_u16.to_be_bytes()), 1002),
            ("not UTF-8", frame(true, 1, b"\xff"), 1007),
            ("too long a message", frame(true, 1, &vec![b' '; 64 * 1024 + 1]), 1009),
        ] {
            let mut socket = broker.websocket();
            socket.send_bytes(&bytes);
            assert_eq!(socket.expect_close().0, code, "{what}");
        }
    });
}

#[test]
fn topics_and_sizes_that_are_not_allowed_close() {
    on_each(|broker| {
        let mut socket = broker.websocket();
        socket.send(r#"{"type":"subscribe","data":{"topic":"priv/x"}}"#);
        let reason = "Subscription to private topic is forbidden!";
        assert_eq!(socket.expect_close(), (1008, reason.to_owned()));
        let own = broker.websocket().id;
        let mut socket = broker.websocket();
        socket.send(&format!(r#"{{"type":"subscribe","data":{{"topic":"priv/{own}"}}}}"#));
        assert_eq!(socket.expect_close().0, 1008);

        // The payload's limit to the byte, quotes included.
        let mut socket = broker.websocket();
        socket.subscribe("t");
        let largest = format!("\"{}\"", "x".repeat(5 * 1024 - 2));
        socket.send(&publish("t", &format!("\"payload\":{largest},\"id\":\"1\"")));
        let sizes = [socket.text().len(), socket.text().len()];
        assert!(sizes.iter().any(|size| *size > 5 * 1024), "{sizes:?}");
        let over = format!("\"{}\"", "x".repeat(5 * 1024 - 1));
        socket.send(&publish("t", &format!("\"payload\":{over}")));
        let (code, reason) = socket.expect_close();
        assert_eq!(code, 1009);
        assert!(reason.contains("5121") && reason.contains("5120"), "{reason}");
    });
}

#[test]
fn compressed_messages_are_binary_and_deflated_where_that_was_agreed() {
    on_each(|broker| {
        let offer = [("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits")];
        let mut plain = broker.websocket();
        let mut deflated = WebSocket::open_with(broker.connect(), "/apps/demo", &offer);
        let agreed = deflated.head.header("sec-websocket-extensions").unwrap().to_owned();
        assert!(agreed.starts_with("permessage-deflate"), "{agreed}");
        plain.subscribe("c");
        deflated.subscribe("c");
        let message = "fan ".repeat(400);
        for (compress, via_http) in [(true, true), (true, false), (false, true)] {
            if via_http {
                let body =
                    format!(r#"{{"topic":"c","message":"{message}","compress":{compress}}}"#);
                post(&mut broker.http(), "/api/topics/demo/publish", body.as_bytes());
            } else {
                let mut publisher = broker.websocket();
                publisher.send(&publish("c", &format!(r#""payload":"{message}","compress":true"#)));
                assert_eq!(publisher.value()["topic"], "priv/acks");
            }
            let (one, two) = (plain.frame(), deflated.frame());
            let opcode = if compress { 2 } else { 1 };
            assert_eq!((one.fin, one.rsv1, one.opcode), (true, false, opcode));
            assert_eq!((two.fin, two.rsv1, two.opcode), (true, compress, opcode));
            let text = if compress { inflate(&two) } else { two.payload.clone() };
            assert_eq!(text, one.payload);
            assert!(!compress || two.payload.len() < one.payload.len() / 4);
            let data = &json(&one.payload)["data"];
            let payload = if via_http { data } else { &data["payload"] };
            assert_eq!(payload, message.as_str());
        }
        // What the client sends may be deflated too (RFC 7692 §7.2.1: without the tail).
        let command = br#"{"type":"subscribe","data":{"topic":"from-deflate"}}"#;
        let compressed = deflate(command);
        deflated.send_bytes(&with_first(0xc1, &compressed));
        assert_eq!(deflated.value()["topic"], "from-deflate");
        deflated.send_bytes(&with_first(0xc1, b"\xff\xff\xff"));
        assert_eq!(deflated.expect_close().0, 1007);
    });
}

#[test]
fn fragments_controls_and_single_bytes_make_the_same_messages() {
    on_each(|broker| {
        let mut socket = broker.websocket();
        let text = r#"{"type":"subscribe","data":{"topic":"é😀"}}"#.as_bytes();
        let at = text.len() - 6;
        let bytes = [
            frame(true, 9, b""),
            frame(false, 1, &text[..at]),
            frame(true, 9, b"between"),
            frame(false, 0, b""),
            frame(true, 10, b"unasked"),
            frame(true, 0, &text[at..]),
            frame(true, 9, &[7; 125]),
        ]
        .concat();
        for write_size in [1, 2, 3, 7, bytes.len()] {
            for piece in bytes.chunks(write_size) {
                socket.send_bytes(piece);
            }
            // Pongs may overtake a welcome, never one another.
            let mut pongs = Vec::new();
            let mut welcomed = 0;
            for _ in 0..4 {
                let frame = socket.frame();
                match frame.opcode {
                    10 => pongs.push(frame.payload),
                    1 => {
                        assert_eq!(json(&frame.payload)["topic"], "é😀");
                        welcomed += 1;
                    }
                    other => panic!("opcode {other}"),
                }
            }
            assert_eq!(welcomed, 1);
            assert_eq!(pongs.len(), 3);
            for pong in [b"".as_slice(), b"between", &[7; 125]] {
                assert!(pongs.iter().any(|got| got == pong));
            }
        }
    });
}

#[test]
fn the_closing_handshake_holds_in_both_directions() {
    on_each(|broker| {
        for (payload, answer) in [
            (b"".to_vec(), b"".to_vec()),
            (1000_u16.to_be_bytes().to_vec(), 1000_u16.to_be_bytes().to_vec()),
            (
                [4000_u16.to_be_bytes().as_slice(), "bye é".as_bytes()].concat(),
                4000_u16.to_be_bytes().to_vec(),
            ),
        ] {
            let mut socket = broker.websocket();
            socket.send_bytes(&frame(true, 8, &payload));
            let close = socket.frame();
            assert_eq!(close.opcode, 8);
            assert!(close.payload.starts_with(&answer), "{close:?}");
            assert_eq!(socket.try_frame(), None, "the server ends the connection first");
        }
        // After the peer's close nothing counts: this publish must not happen.
        let mut watcher = broker.websocket();
        watcher.subscribe("after");
        let mut socket = broker.websocket();
        let publish = publish("after", r#""payload":1"#);
        socket.send_bytes(&[frame(true, 8, b""), frame(true, 1, publish.as_bytes())].concat());
        assert_eq!(socket.frame().opcode, 8);
        assert_eq!(socket.try_frame(), None);
        watcher.expect_silence();
    });
}

#[test]
fn commands_that_come_with_the_handshake_wait_for_the_welcome() {
    on_each(|broker| {
        for topic in broker.topics("early") {
            let mut http = broker.http();
            let mut bytes = upgrade("/apps/demo");
            for text in [
                format!(r#"{{"type":"subscribe","data":{{"topic":"{topic}"}}}}"#),
                publish("other", r#""payload":1,"id":"x""#),
            ] {
                bytes.extend(frame(true, 1, text.as_bytes()));
            }
            http.send(&bytes);
            let mut socket = WebSocket::begin(http);
            assert_eq!(socket.value()["topic"], "main");
            let mut topics = [socket.value()["topic"].clone(), socket.value()["topic"].clone()];
            topics.sort_by_key(|topic| *topic == "priv/acks");
            assert_eq!(topics, [topic.as_str(), "priv/acks"]);
        }
    });
}

#[test]
fn who_answers_pings_stays_and_who_does_not_is_closed() {
    on_each_with(
        |setup| {
            setup
                .config(
                    "[[applications]]\nid = \"demo\"\nopen = true\nlimits.idle_timeout = \"2s\"\n",
                )
                .with("WEBSOCKET_PING_INTERVAL", "200ms")
                .with("WEBSOCKET_CLOSE_TIMEOUT", "200ms")
        },
        |broker| {
            let mut deaf = broker.websocket();
            let mut opcodes = Vec::new();
            while let Some(frame) = deaf.try_frame() {
                opcodes.push(frame.opcode);
            }
            assert_eq!(opcodes, [9, 8], "one ping, then the close");
            let mut lively = broker.websocket();
            for _ in 0..4 {
                let ping = lively.frame();
                assert_eq!(ping.opcode, 9);
                lively.send_bytes(&frame(true, 10, &ping.payload));
            }
            lively.expect_silence();
        },
    );
}

#[test]
fn an_independent_client_agrees() {
    on_each(|broker: &Broker| {
        let url = format!("ws://{}/apps/demo", broker.address);
        let (mut client, _) = tungstenite::client(url, broker.connect()).unwrap();
        assert!(client.read().unwrap().into_text().unwrap().contains("welcome"));
        let subscribe = r#"{"type":"subscribe","data":{"topic":"t"}}"#;
        client.send(subscribe.into()).unwrap();
        assert!(client.read().unwrap().into_text().unwrap().contains("\"t\""));
        for size in [0, 125, 126, 5000] {
            client
                .send(publish("t", &format!("\"payload\":\"{}\"", "y".repeat(size))).into())
                .unwrap();
            let got = [client.read().unwrap(), client.read().unwrap()];
            assert!(got.iter().any(|message| message.len() > size + 100), "{got:?}");
        }
        client.close(None).unwrap();
        while client.read().is_ok() {}
    });
}

fn upgrade(target: &str) -> Vec<u8> {
    format!(
        "GET {target} HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    .into_bytes()
}

/// A masked frame with any first byte.
fn with_first(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = frame(true, 1, payload);
    bytes[0] = first;
    bytes
}

/// RFC 7692 §7.2.2: the tail that the sender cut is put back.
fn inflate(frame: &Frame) -> Vec<u8> {
    let mut decoder = flate2::write::DeflateDecoder::new(Vec::new());
    decoder.write_all(&frame.payload).expect("deflated");
    decoder.write_all(&[0, 0, 0xff, 0xff]).expect("deflated");
    decoder.flush().expect("into memory");
    decoder.get_ref().clone()
}

fn deflate(text: &[u8]) -> Vec<u8> {
    let mut encoder =
        flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text).expect("into memory");
    encoder.flush().expect("into memory");
    let bytes = encoder.get_ref().clone();
    bytes.strip_suffix(&[0, 0, 0xff, 0xff]).expect("a flush ends in it").to_vec()
}
