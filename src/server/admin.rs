//! Opens the admin door.

use crate::config::AdminOptions;
use crate::shard::options::SocketOptions;
use crate::shard::{AdminDoor, Listener};

/// Binds the admin door's listener. `None` = there is none, because nobody wants one, or because
/// nobody chose its address and another broker of this machine has it.
///
/// # Errors
/// An address that was chosen cannot be had.
pub(super) fn open(options: AdminOptions) -> std::io::Result<Option<AdminDoor>> {
    let AdminOptions { listen: Some(address), is_default, token } = options else {
        return Ok(None);
    };
    let bound = Listener::claim(address)
        .and_then(|()| Listener::bind(address, AdminDoor::BACKLOG, &SocketOptions::default()));
    match bound {
        Ok(listener) => {
            tracing::info!(address = %listener.address(), "the admin door listens");
            Ok(Some(AdminDoor::new(listener, token)))
        }
        Err(error) if is_default => {
            tracing::warn!(
                %address, %error,
                "no admin door: its default address cannot be had; set admin.listen to another, or to off"
            );
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
