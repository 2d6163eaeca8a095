//! What an operator asks for: the words of `chiplog fault`, and the body of a POST to /faults.

use std::time::Duration;

use base::{FileKind, NodeId, ShardId};
use clap::ValueEnum;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use shard::fault::{Accesses, DiskFault, Fault, Files, NetFault, Way};

/// A fault as it is asked for. What a kind of fault has no use for is left out.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FaultRequest {
    pub(crate) what: What,
    /// It ends by itself after so many milliseconds.
    pub(crate) for_ms: u64,
    /// Of a delay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) by_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) jitter_ms: Option<u64>,
    /// Of operations, or of pieces that are lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) percent: Option<u8>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) errno: Option<ErrnoName>,
    /// A number, or `control`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) shard: Option<String>,
    /// `journal`, `bins`, `segment-N` or `bin-N`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) file: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) on: Option<On>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) peer: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) way: Option<WayName>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum What {
    DiskDelay,
    DiskFreeze,
    DiskError,
    DiskDrop,
    DiskTear,
    NetDelay,
    NetLoss,
    NetCut,
    NetReset,
    Pause,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ErrnoName {
    Eio,
    Enospc,
    Erofs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum On {
    Reads,
    Writes,
    All,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum WayName {
    In,
    Out,
    Both,
}

/// The longest that a fault may hold.
const FOR_MAX: Duration = Duration::from_secs(3600);
/// The longest pause: nothing ends it early.
const PAUSE_MAX: Duration = Duration::from_secs(300);
/// The longest delay of one thing.
const DELAY_MAX: Duration = Duration::from_secs(60);

impl FaultRequest {
    /// Of `what`, for so long, hitting everything.
    pub(crate) fn new(what: What, lasts: Duration) -> Self {
        Self {
            what,
            for_ms: u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX),
            by_ms: None,
            jitter_ms: None,
            percent: None,
            errno: None,
            shard: None,
            file: None,
            on: None,
            peer: None,
            way: None,
        }
    }

    /// The fault and how long it holds; else a sentence that says what cannot be.
    pub(crate) fn believe(&self) -> Result<(Fault, Duration), String> {
        let lasts = Duration::from_millis(self.for_ms);
        let longest = if self.what == What::Pause { PAUSE_MAX } else { FOR_MAX };
        if lasts.is_zero() || longest < lasts {
            return Err(format!("it must end by itself: within {longest:?}, and not at once"));
        }
        let percent = self.percent.unwrap_or(100);
        if !(1..=100).contains(&percent) {
            return Err("percent: expects 1 to 100".to_owned());
        }
        let disk = |what| self.disk(what, percent);
        let net = |what| Ok(self.net(what));
        let fault = match self.what {
            What::DiskDelay => disk(DiskFault::Delay(self.delay()?)),
            What::DiskFreeze => disk(DiskFault::Freeze),
            What::DiskError => disk(DiskFault::Error(self.errno.unwrap_or(ErrnoName::Eio).code())),
            What::DiskDrop => disk(DiskFault::Drop),
            What::DiskTear => disk(DiskFault::Tear),
            What::NetDelay => {
                let jitter = Duration::from_millis(self.jitter_ms.unwrap_or(0));
                if DELAY_MAX < jitter {
                    return Err(format!("a jitter is at most {DELAY_MAX:?}"));
                }
                net(NetFault::Delay { by: self.delay()?, jitter })
            }
            What::NetLoss => net(NetFault::Loss(percent)),
            What::NetCut => net(NetFault::Cut),
            What::NetReset => net(NetFault::Reset),
            What::Pause => Ok(Fault::Pause { shard: self.shard()? }),
        };
        Ok((fault?, lasts))
    }

    fn delay(&self) -> Result<Duration, String> {
        let by = self.by_ms.map(Duration::from_millis);
        let by = by.filter(|by| !by.is_zero() && *by <= DELAY_MAX);
        by.ok_or_else(|| format!("a delay is from 1 ms to {DELAY_MAX:?}"))
    }

    fn disk(&self, what: DiskFault, percent: u8) -> Result<Fault, String> {
        let accesses = match self.on {
            None | Some(On::All) => Accesses::All,
            Some(On::Reads) => Accesses::Reads,
            Some(On::Writes) => Accesses::Writes,
        };
        let (shard, files) = (self.shard()?, self.files()?);
        Ok(Fault::Disk { shard, files, accesses, what, percent })
    }

    fn net(&self, what: NetFault) -> Fault {
        let way = match self.way {
            Some(WayName::In) => Way::In,
            Some(WayName::Out) => Way::Out,
            None | Some(WayName::Both) => Way::Both,
        };
        Fault::Net { peer: self.peer.map(NodeId), way, what }
    }

    fn shard(&self) -> Result<Option<ShardId>, String> {
        let Some(text) = &self.shard else { return Ok(None) };
        if text == "control" {
            return Ok(Some(ShardId::CONTROL));
        }
        let number = text.parse().map(ShardId).map_err(|_| {
            format!("shard {text}: expects the number of a shard of this node, or `control`")
        });
        number.map(Some)
    }

    fn files(&self) -> Result<Files, String> {
        let Some(text) = self.file.as_deref() else { return Ok(Files::All) };
        let one = |text: &str| {
            let segment = text.strip_prefix("segment-").and_then(|number| number.parse().ok());
            let bin = text.strip_prefix("bin-").and_then(|number| number.parse().ok());
            segment.map(FileKind::Segment).or_else(|| bin.map(FileKind::Bin))
        };
        match text {
            "journal" => Ok(Files::Journal),
            "bins" => Ok(Files::Bins),
            text => one(text).map(Files::One).ok_or_else(|| {
                format!("file {text}: expects `journal`, `bins`, `segment-N` or `bin-N`")
            }),
        }
    }
}

impl ErrnoName {
    fn code(self) -> i32 {
        let errno = match self {
            Self::Eio => Errno::IO,
            Self::Enospc => Errno::NOSPC,
            Self::Erofs => Errno::ROFS,
        };
        errno.raw_os_error()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_request_survives_its_journey_as_json() {
        let mut request = FaultRequest::new(What::DiskDelay, MINUTE);
        request.by_ms = Some(20);
        request.shard = Some("control".to_owned());
        request.file = Some("segment-3".to_owned());
        let json = serde_json::to_string(&request).expect("plain values");
        let read: FaultRequest = serde_json::from_str(&json).expect("what was written");
        let (fault, lasts) = read.believe().expect("it can be");
        assert_eq!(lasts, MINUTE);
        assert_eq!(fault.to_string(), "disk delay of 20ms in segment 3 of the control shard");
    }

    #[test]
    fn what_cannot_be_is_refused_in_a_sentence() {
        let refusal = |change: &dyn Fn(&mut FaultRequest)| {
            let mut request = FaultRequest::new(What::DiskDelay, MINUTE);
            request.by_ms = Some(1);
            change(&mut request);
            request.believe().expect_err("it cannot be")
        };
        assert!(refusal(&|request| request.for_ms = 0).contains("end by itself"));
        assert!(refusal(&|request| request.for_ms = u64::MAX).contains("3600s"));
        assert!(refusal(&|request| request.by_ms = None).contains("1 ms to 60s"));
        assert!(refusal(&|request| request.shard = Some("all".to_owned())).contains("`control`"));
        assert!(refusal(&|request| request.file = Some("log".to_owned())).contains("`journal`"));
        assert!(refusal(&|request| request.percent = Some(0)).contains("1 to 100"));
        let wild = |request: &mut FaultRequest| {
            (request.what, request.jitter_ms) = (What::NetDelay, Some(60_001));
        };
        assert!(refusal(&wild).contains("at most 60s"));
        let long = FaultRequest::new(What::Pause, Duration::from_secs(301));
        assert!(long.believe().expect_err("too long").contains("300s"));
        assert!(serde_json::from_str::<FaultRequest>(r#"{"what":"fire","for_ms":1}"#).is_err());
    }
}
