//! One connection's TLS, sans I/O: records in, bytes out, and the other way round.
//!
//! rustls's unbuffered interface is used, because the buffered one keeps 4 KiB per connection for what
//! comes in. Its contract: it is given everything that has come and is not done with, each time.

use std::sync::Arc;

use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncryptError, InsufficientSizeError, UnbufferedStatus,
    WriteTraffic,
};
use rustls::{Error, InvalidMessage, ServerConfig};

/// Most bytes that may wait for the rest of their record or handshake message: the longest record
/// (RFC 5246 §6.2.3). A client's hello that is longer ends the connection.
pub(super) const PARTIAL_SIZE_MAX: usize = 5 + (1 << 14) + 2048;

/// Plain bytes that are sealed at once; the next follow when these have left. What a slow reader holds
/// beyond its queue.
pub(super) const SEALED_SIZE_MAX: usize = 32 * 1024;

/// What a record may add to its bytes: header, explicit nonce, tag; the rest is to spare.
const RECORD_OVERHEAD: usize = 64;

/// TLS of one connection. While nothing is on its way it owns its keys and no buffer.
pub(super) struct Session {
    tls: UnbufferedServerConnection,
    /// What has come and makes no whole record yet.
    partial: Vec<u8>,
    /// Records to be sent.
    sealed: Vec<u8>,
    /// Of those, the bytes that have left.
    sent: usize,
    stage: Stage,
}

/// How far it has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// Nothing has come yet.
    Fresh,
    Handshake,
    Established,
    /// We have said that nothing more follows, or can say nothing any more.
    Closed,
}

/// What bytes from the peer led to.
#[derive(Debug)]
pub(super) enum Opened {
    /// More may follow.
    Open,
    /// The peer has said that nothing more follows (RFC 8446 §6.1).
    Ended,
    /// It is over; an alert may be among the records to be sent.
    Failed(Error),
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("stage", &self.stage).finish_non_exhaustive()
    }
}

impl Session {
    /// A session of which nothing has come yet.
    ///
    /// # Panics
    /// When the settings limit the size of records, which only a bug could bring about.
    pub(super) fn new(config: Arc<ServerConfig>) -> Session {
        let tls = UnbufferedServerConnection::new(config);
        Session {
            tls: tls.expect("only a limit on records is ever refused, and TlsAcceptor sets none"),
            partial: Vec::new(),
            sealed: Vec::new(),
            sent: 0,
            stage: Stage::Fresh,
        }
    }

    /// Whether the door can be reached.
    pub(super) fn is_established(&self) -> bool {
        matches!(self.stage, Stage::Established | Stage::Closed)
    }

    /// Whether bytes that come now are the first.
    pub(super) fn is_fresh(&self) -> bool {
        self.stage == Stage::Fresh && self.partial.is_empty()
    }

    /// Whether the end has still to be told to the peer.
    pub(super) fn owes_close(&self) -> bool {
        self.stage == Stage::Established
    }

    /// Takes what is held of an unfinished record, to stand in front of what comes.
    pub(super) fn take_partial(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.partial)
    }

    /// Gives back what was taken and could not be added to.
    pub(super) fn put_back_partial(&mut self, partial: Vec<u8>) {
        self.partial = partial;
    }

    /// Takes in everything that has come and is not done with, and appends what it held to `plain`.
    pub(super) fn open(&mut self, records: &mut [u8], plain: &mut Vec<u8>) -> Opened {
        let mut used = 0;
        let opened = loop {
            let UnbufferedStatus { discard, state } =
                self.tls.process_tls_records(&mut records[used..]);
            let outcome = match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    let mut beyond = 0;
                    while let Some(Ok(record)) = traffic.next_record() {
                        plain.extend_from_slice(record.payload);
                        beyond += record.discard;
                    }
                    used += beyond;
                    None
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    encode(&mut self.sealed, |out| {
                        data.encode(out).map_err(|error| room_for_record(&error))
                    });
                    None
                }
                Ok(ConnectionState::TransmitTlsData(data)) => {
                    data.done();
                    None
                }
                Ok(ConnectionState::BlockedHandshake) => {
                    if self.stage == Stage::Fresh {
                        self.stage = Stage::Handshake;
                    }
                    Some(Opened::Open)
                }
                Ok(ConnectionState::WriteTraffic(_)) => {
                    if !self.is_established() {
                        self.stage = Stage::Established;
                    }
                    Some(Opened::Open)
                }
                Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => Some(Opened::Ended),
                // Early data is never accepted, so there is no other state.
                Ok(_) => Some(Opened::Failed(Error::HandshakeNotComplete)),
                Err(error) => Some(Opened::Failed(error)),
            };
            used += discard;
            if let Some(outcome) = outcome {
                break outcome;
            }
        };
        self.keep(&mut records[used..], opened)
    }

    /// Keeps what is not done with.
    fn keep(&mut self, rest: &mut [u8], opened: Opened) -> Opened {
        match opened {
            Opened::Open if rest.len() <= PARTIAL_SIZE_MAX => {
                self.partial = rest.to_vec();
                Opened::Open
            }
            Opened::Open => {
                self.stage = Stage::Closed;
                Opened::Failed(Error::InvalidMessage(InvalidMessage::MessageTooLarge))
            }
            Opened::Ended => Opened::Ended,
            Opened::Failed(error) => {
                self.seal_alert(rest);
                Opened::Failed(error)
            }
        }
    }

    /// An error leaves its alert to be fetched (RFC 8446 §6.2), behind what was to be said before.
    fn seal_alert(&mut self, rest: &mut [u8]) {
        // Only while there is something to fetch: beyond that it would read the faulty bytes again.
        while self.tls.wants_write()
            && let Ok(ConnectionState::EncodeTlsData(mut data)) =
                self.tls.process_tls_records(rest).state
        {
            encode(&mut self.sealed, |out| {
                data.encode(out).map_err(|error| room_for_record(&error))
            });
        }
        self.stage = Stage::Closed;
    }

    /// Seals bytes of the door's; whether that was possible.
    pub(super) fn seal(&mut self, plain: &[u8]) -> bool {
        self.write(Some(plain))
    }

    /// Tells the peer that nothing more follows (RFC 8446 §6.1).
    pub(super) fn seal_close(&mut self) {
        self.write(None);
        self.stage = Stage::Closed;
    }

    /// Seals bytes, or the end.
    fn write(&mut self, plain: Option<&[u8]>) -> bool {
        if !self.owes_close() {
            return false;
        }
        let Session { tls, partial, sealed, .. } = self;
        loop {
            // It must see what it has seen already, or its notes on that would point to nothing.
            let UnbufferedStatus { discard, state } = tls.process_tls_records(partial);
            let is_written = match state {
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    encode(sealed, |out| data.encode(out).map_err(|error| room_for_record(&error)));
                    None
                }
                Ok(ConnectionState::TransmitTlsData(data)) => {
                    data.done();
                    None
                }
                Ok(ConnectionState::WriteTraffic(traffic)) => {
                    Some(write_traffic(traffic, plain, sealed))
                }
                _ => Some(false),
            };
            partial.drain(..discard);
            if let Some(is_written) = is_written {
                return is_written;
            }
        }
    }

    /// Records that have to be sent.
    pub(super) fn unsent(&self) -> &[u8] {
        &self.sealed[self.sent..]
    }

    #[cfg(test)]
    pub(super) fn sealed_capacity(&self) -> usize {
        self.sealed.capacity()
    }

    /// Takes note that so many bytes have left.
    pub(super) fn consume(&mut self, count: usize) {
        self.sent += count;
        if self.sent == self.sealed.len() {
            (self.sealed, self.sent) = (Vec::new(), 0);
        }
    }
}

fn write_traffic(
    mut traffic: WriteTraffic<'_, ServerConnectionData>,
    plain: Option<&[u8]>,
    sealed: &mut Vec<u8>,
) -> bool {
    let size = plain.map_or(0, <[u8]>::len);
    let records = 1 + size / (1 << 14);
    sealed.reserve_exact(size + records * RECORD_OVERHEAD);
    encode(sealed, |out| {
        let written = match plain {
            Some(plain) => traffic.encrypt(plain, out),
            None => traffic.queue_close_notify(out),
        };
        written.map_err(|error| room_for_traffic(&error))
    })
}

/// Appends what `write` writes, which says how much room it needs if it has too little; whether it
/// could.
fn encode(
    out: &mut Vec<u8>,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, Option<usize>>,
) -> bool {
    let start = out.len();
    out.resize(out.capacity(), 0);
    loop {
        match write(&mut out[start..]) {
            Ok(size) => {
                out.truncate(start + size);
                return true;
            }
            Err(Some(required)) if start + required > out.len() => {
                out.resize(start + required, 0);
            }
            Err(_) => {
                out.truncate(start);
                return false;
            }
        }
    }
}

fn room_for_record(error: &EncodeError) -> Option<usize> {
    match error {
        EncodeError::InsufficientSize(InsufficientSizeError { required_size }) => {
            Some(*required_size)
        }
        EncodeError::AlreadyEncoded => None,
    }
}

fn room_for_traffic(error: &EncryptError) -> Option<usize> {
    match error {
        EncryptError::InsufficientSize(InsufficientSizeError { required_size }) => {
            Some(*required_size)
        }
        EncryptError::EncryptExhausted => None,
    }
}
