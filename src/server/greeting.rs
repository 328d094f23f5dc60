//! What a newcomer reads first: how to subscribe and how to publish, one line each.

use std::io::Write as _;
use std::net::SocketAddr;

use crate::model::application::Applications;

/// Prints where the broker listens and, for an open application, the two lines to try.
pub(super) fn print(address: SocketAddr, applications: &Applications) {
    let open = applications.iter().find(|(_, application)| application.enabled && application.open);
    let try_it = open.map(|(_, application)| {
        let id = &application.id;
        format!(
            "  subscribe: curl -N 'http://{address}/v1/{id}/events?topics=news'\n  \
               publish:   curl -d hi 'http://{address}/v1/{id}/topics/news'\n  \
               in a browser: http://{address}/\n"
        )
    });
    let text =
        format!("fanwire listens on http://{address}\n{}", try_it.as_deref().unwrap_or_default());
    // Nobody may be reading; that is no reason to stop serving.
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}
