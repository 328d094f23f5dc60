//! The doors by which connections, publishes and deliveries are told apart in metrics.

use crate::model::form::Form;

/// The door a connection stands at. Those of the main listener begin as HTTP and may move once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Door {
    /// HTTP requests and answers.
    Http,
    /// After a WebSocket upgrade.
    WebSocket,
    /// An event stream.
    Sse,
    /// The admin door, whatever is read there.
    Admin,
}

impl Door {
    /// All doors, in the order of their discriminants.
    pub const ALL: [Door; 4] = [Door::Http, Door::WebSocket, Door::Sse, Door::Admin];

    /// The metric label.
    pub const fn label(self) -> &'static str {
        match self {
            Door::Http => "http",
            Door::WebSocket => "websocket",
            Door::Sse => "sse",
            Door::Admin => "admin",
        }
    }
}

/// The dialect a publish came in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PublishDoor {
    /// The native HTTP routes.
    Native,
    /// The Realtime dialect over HTTP.
    RealtimeHttp,
    /// The Realtime dialect over WebSocket.
    RealtimeWebSocket,
    /// buzzPost at the root path.
    BuzzPost,
    /// `type:"message"` over a Realtime WebSocket.
    RealtimeInbound,
}

impl PublishDoor {
    /// All of them, in the order of their discriminants.
    pub const ALL: [PublishDoor; 5] = [
        PublishDoor::Native,
        PublishDoor::RealtimeHttp,
        PublishDoor::RealtimeWebSocket,
        PublishDoor::BuzzPost,
        PublishDoor::RealtimeInbound,
    ];

    /// The metric label.
    pub const fn label(self) -> &'static str {
        match self {
            PublishDoor::Native => "native",
            PublishDoor::RealtimeHttp => "realtime_http",
            PublishDoor::RealtimeWebSocket => "realtime_websocket",
            PublishDoor::BuzzPost => "buzzpost",
            PublishDoor::RealtimeInbound => "realtime_inbound",
        }
    }
}

/// The door a delivery leaves by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DeliveryDoor {
    /// A frame of a WebSocket.
    WebSocket,
    /// An event of a stream.
    Sse,
    /// An item of a long poll's answer.
    Poll,
}

impl DeliveryDoor {
    /// All of them, in the order of their discriminants.
    pub const ALL: [DeliveryDoor; 3] =
        [DeliveryDoor::WebSocket, DeliveryDoor::Sse, DeliveryDoor::Poll];

    /// The door of those who want this form.
    pub const fn of(form: Form) -> DeliveryDoor {
        match form {
            Form::Realtime { .. } => DeliveryDoor::WebSocket,
            Form::Sse { .. } => DeliveryDoor::Sse,
            Form::Poll { .. } => DeliveryDoor::Poll,
        }
    }

    /// The metric label.
    pub const fn label(self) -> &'static str {
        match self {
            DeliveryDoor::WebSocket => "websocket",
            DeliveryDoor::Sse => "sse",
            DeliveryDoor::Poll => "poll",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_discriminants_are_the_places_in_all() {
        for (index, door) in Door::ALL.into_iter().enumerate() {
            assert_eq!(door as usize, index);
        }
        for (index, door) in PublishDoor::ALL.into_iter().enumerate() {
            assert_eq!(door as usize, index);
        }
        for (index, door) in DeliveryDoor::ALL.into_iter().enumerate() {
            assert_eq!(door as usize, index);
        }
    }
}
