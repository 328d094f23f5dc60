//! Source address lists: which networks may come (protocols.md §1.4, `clientSourceAddress`).

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

/// Networks that may come, and networks that may not. The empty list lets everyone come.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AddressList {
    allowed: Vec<IpNet>,
    denied: Vec<IpNet>,
}

impl AddressList {
    /// Reads entries such as `10.0.0.0/8`, `2001:db8::/32`, `192.0.2.7` (one address) and `!10.1.0.0/16`
    /// (denied, whatever else matches).
    ///
    /// # Errors
    /// The first entry that is none of these.
    pub fn new<S: AsRef<str>>(entries: impl IntoIterator<Item = S>) -> Result<AddressList, String> {
        let mut list = AddressList::default();
        for entry in entries {
            let entry = entry.as_ref();
            let (side, network) = match entry.strip_prefix('!') {
                Some(network) => (&mut list.denied, network),
                None => (&mut list.allowed, entry),
            };
            side.push(network_of(network).ok_or_else(|| entry.to_owned())?);
        }
        Ok(list)
    }

    /// Whether it lists any network that may come.
    pub fn names_some(&self) -> bool {
        !self.allowed.is_empty()
    }

    /// Whether `address` may come: no denied network holds it, and an allowed one does or there are
    /// none. An IPv4 address that came over an IPv6 socket counts as IPv4.
    pub fn allows(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let holds = |networks: &[IpNet]| networks.iter().any(|network| network.contains(&address));
        !holds(&self.denied) && (self.allowed.is_empty() || holds(&self.allowed))
    }
}

/// IPv4 networks written as IPv6 (RFC 4291 §2.5.5.2) are the IPv4 networks they mean, as addresses are.
fn network_of(text: &str) -> Option<IpNet> {
    let network =
        text.parse().or_else(|_no_prefix| text.parse::<IpAddr>().map(IpNet::from)).ok()?;
    let IpNet::V6(v6) = network else { return Some(network) };
    match (v6.addr().to_ipv4_mapped(), v6.prefix_len().checked_sub(96)) {
        (Some(v4), Some(prefix_len)) => Ipv4Net::new(v4, prefix_len).map(IpNet::V4).ok(),
        _ => Some(network),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn denial_wins_and_an_empty_list_lets_everyone_come() {
        let cases: [(&[&str], &str, bool); 15] = [
            (&[], "203.0.113.9", true),
            (&["10.0.0.0/8"], "10.9.9.9", true),
            (&["10.0.0.0/8"], "11.0.0.1", false),
            (&["10.0.0.0/8"], "::ffff:10.9.9.9", true),
            (&["10.0.0.0/8", "!10.1.0.0/16"], "10.1.2.3", false),
            (&["!10.1.0.0/16", "10.0.0.0/8"], "10.2.2.3", true),
            (&["!10.1.0.0/16"], "10.1.2.3", false),
            (&["!10.1.0.0/16"], "192.0.2.1", true),
            (&["192.0.2.7"], "192.0.2.7", true),
            (&["192.0.2.7"], "192.0.2.8", false),
            (&["2001:db8::/32"], "2001:db8:1::1", true),
            (&["2001:db8::/32"], "10.0.0.1", false),
            (&["!::ffff:10.0.0.1"], "10.0.0.1", false),
            (&["::ffff:10.0.0.0/104"], "10.9.9.9", true),
            (&["::ffff:10.0.0.0/104"], "11.0.0.1", false),
        ];
        for (entries, address, expected) in cases {
            let list = AddressList::new(entries).unwrap();
            assert_eq!(list.allows(address.parse().unwrap()), expected, "{entries:?} {address}");
        }
    }

    #[test]
    fn what_is_no_network_is_named() {
        for wrong in
            ["", "!", "10.0.0.0/33", "10.0.0", "example.com", "10.0.0.0/8 ", "!!10.0.0.0/8"]
        {
            assert_eq!(AddressList::new(["10.0.0.0/8", wrong]), Err(wrong.to_owned()));
        }
    }
}
