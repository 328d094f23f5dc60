//! Which proxies may name the clients behind them, and by which header field.
//!
//! Nobody is trusted unless listed: who could name any address would pass every address list.

use std::net::IpAddr;

use super::address::AddressList;

/// The proxies whose word counts. The default trusts nobody.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TrustedProxies {
    networks: AddressList,
    field: ClientField,
}

/// Which header field names the client.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ClientField {
    /// `Forwarded`, or where a request has none, `X-Forwarded-For`. Only behind proxies that drop or
    /// rewrite both: one that sets the second and passes on the first lets clients choose.
    #[default]
    Any,
    /// `Forwarded` (RFC 7239) alone.
    Forwarded,
    /// `X-Forwarded-For` alone.
    XForwardedFor,
}

impl TrustedProxies {
    /// Trusts these networks, nobody where the list is empty.
    pub fn new(networks: AddressList, field: ClientField) -> TrustedProxies {
        TrustedProxies { networks, field }
    }

    /// Whether what `address` says about its clients counts.
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.networks.names_some() && self.networks.allows(address)
    }

    /// Which field is looked at.
    pub fn field(&self) -> ClientField {
        self.field
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_trusted_unless_listed() {
        let cases: [(&[&str], &str, bool); 6] = [
            (&[], "127.0.0.1", false),
            (&["127.0.0.1"], "127.0.0.1", true),
            (&["127.0.0.1"], "::ffff:127.0.0.1", true),
            (&["127.0.0.1"], "127.0.0.2", false),
            (&["10.0.0.0/8", "!10.1.0.0/16"], "10.1.0.1", false),
            (&["!10.1.0.0/16"], "192.0.2.1", false),
        ];
        for (entries, address, expected) in cases {
            let list = AddressList::new(entries).unwrap();
            let proxies = TrustedProxies::new(list, ClientField::Any);
            assert_eq!(proxies.trusts(address.parse().unwrap()), expected, "{entries:?} {address}");
        }
    }
}
