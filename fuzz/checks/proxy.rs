//! What must hold of the PROXY protocol's decoder for any bytes: one verdict, however they are cut,
//! within its limit, and what it read is what a header written anew reads as.

use fanwire::proto::proxy::{HEADER_SIZE_MAX, Header, decode};

/// Panics where one of that does not hold.
pub(crate) fn check(data: &[u8]) {
    let whole = decode(data);
    let needed = (0..=data.len()).find(|size| decode(&data[..*size]) != Ok(None));
    let Some(needed) = needed else {
        assert_eq!(whole, Ok(None));
        assert!(data.len() < HEADER_SIZE_MAX, "it asks for more than its limit");
        return;
    };
    assert!(
        (needed..=data.len()).all(|size| decode(&data[..size]) == whole),
        "it changes its mind"
    );
    let Ok(Some(Header { size, client })) = whole else { return };
    assert_eq!(size, needed, "it asks for more than the header, or for less");
    assert!(size <= HEADER_SIZE_MAX);
    let Some(client) = client else { return };
    let family = if client.is_ipv4() { "TCP4" } else { "TCP6" };
    let (ip, port) = (client.ip(), client.port());
    let line = format!("PROXY {family} {ip} {ip} {port} {port}\r\n");
    assert_eq!(
        decode(line.as_bytes()),
        Ok(Some(Header { size: line.len(), client: Some(client) }))
    );
}
