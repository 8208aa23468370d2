//! The record while it is written, by all connections of a proxy.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::record::{Denial, Incomplete, Material, Reason, Record, Request};

/// Bytes of text after which a proxy serves no further requests: a step must not fill our memory.
const LIMIT: usize = 64 << 20;

/// A record that grows.
#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<Pages>);

#[derive(Debug, Default)]
struct Pages {
    record: Record,
    size: usize,
}

impl Ledger {
    /// Whether nothing more can be recorded.
    pub(crate) fn is_full(&self) -> bool {
        self.pages().size > LIMIT
    }

    pub(crate) fn request(&self, request: Request) {
        let target = request.redirect_target.as_ref().map_or(0, String::len);
        let mut pages = self.pages();
        pages.count::<Request>(&request.method, &request.url, target);
        pages.record.requests.push(request);
    }

    pub(crate) fn material(&self, url: &str, digest: String) {
        let mut pages = self.pages();
        pages.count::<Material>("", url, digest.len());
        let url = url.to_owned();
        pages.record.materials.push(Material { url, digest });
    }

    pub(crate) fn incomplete(&self, method: &str, url: &str, reason: Reason) {
        let mut pages = self.pages();
        pages.count::<Incomplete>(method, url, 0);
        pages.record.incomplete.push(Incomplete {
            method: method.to_owned(),
            url: url.to_owned(),
            reason,
        });
    }

    pub(crate) fn denied(&self, method: &str, url: &str, reason: &str) {
        let mut pages = self.pages();
        pages.count::<Denial>(method, url, reason.len());
        pages.record.denied.push(Denial {
            method: method.to_owned(),
            url: url.to_owned(),
            reason: reason.to_owned(),
        });
    }

    /// Everything, once nobody writes any more.
    pub(crate) fn close(&self) -> Record {
        let mut record = std::mem::take(&mut *self.pages()).record;
        record.follow_redirects();
        record
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pages {
    fn count<Entry>(&mut self, method: &str, url: &str, more: usize) {
        self.size += size_of::<Entry>() + method.len() + url.len() + more;
    }
}
