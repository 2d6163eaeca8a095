//! What can be wrong with bytes from a peer.

use core::fmt;

use base::FrameError;

use crate::ApiKey;

/// Why bytes are not a frame or message that we serve. The only answer is to close the connection:
/// nothing behind the fault can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireError {
    /// A field reaches past the end of its frame.
    Truncated,
    /// A length or count that no message can have.
    Length(i64),
    /// More elements than the rest of the frame can hold.
    Count { claimed: u32, room: u32 },
    /// Null where the protocol has no null.
    Null,
    /// A variable-length integer of more than 32 bits.
    Varint,
    /// A string that is not UTF-8.
    Utf8,
    /// An API without codec.
    UnknownApi(i16),
    /// A version outside [`ApiKey::versions`].
    UnsupportedVersion { api: ApiKey, version: i16 },
    /// A frame above the configured limit.
    FrameTooLarge { claimed: u32, max: u32 },
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => write!(f, "a field reaches past the end of its frame"),
            Self::Length(length) => write!(f, "{length} is not a possible length"),
            Self::Count { claimed, room } => {
                write!(f, "{claimed} elements cannot fit into the {room} bytes that are left")
            }
            Self::Null => write!(f, "null in a field that cannot be null"),
            Self::Varint => write!(f, "a variable-length integer exceeds 32 bits"),
            Self::Utf8 => write!(f, "a string is not UTF-8"),
            Self::UnknownApi(code) => write!(f, "API key {code} is not served"),
            Self::UnsupportedVersion { api, version } => {
                write!(f, "{api} version {version} is not served")
            }
            Self::FrameTooLarge { claimed, max } => {
                write!(f, "a frame of {claimed} bytes exceeds the limit of {max}")
            }
        }
    }
}

impl std::error::Error for WireError {}

impl From<FrameError> for WireError {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::Negative(length) => Self::Length(length.into()),
            FrameError::TooLarge { claimed, max } => Self::FrameTooLarge { claimed, max },
        }
    }
}
