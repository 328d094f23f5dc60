//! What a newcomer reads first: how to subscribe and how to publish, one line each.

use std::io::Write as _;

use crate::model::application::Applications;

/// Prints where the broker listens and, for an open application, the two lines to try.
pub(super) fn print(urls: &[String], applications: &Applications) {
    let base = urls.first().map(String::as_str).unwrap_or_default();
    let open = applications.iter().find(|(_, application)| application.enabled && application.open);
    let try_it = open.map(|(_, application)| {
        let id = &application.id;
        format!(
            "  subscribe: curl -N '{base}/v1/{id}/events?topics=news'\n  \
               publish:   curl -d hi '{base}/v1/{id}/topics/news'\n  \
               in a browser: {base}/\n"
        )
    });
    let lines = urls.iter().flat_map(|url| ["fanwire listens on ", url, "\n"]);
    let text = lines.chain(try_it.as_deref()).collect::<String>();
    // Nobody may be reading; that is no reason to stop serving.
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}
