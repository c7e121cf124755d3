//! The log by request.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Entry, Operation, Record, WriteLog};

/// Where a step of a request is kept.
type Step = for<'r, 'a> fn(&'r mut LoggedRequest<'a>) -> &'r mut Option<usize>;

/// A request and all that became of it, each step by the place of its entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedRequest<'a> {
    /// Its number.
    pub request: u64,
    /// What it asks.
    pub operation: &'a Operation,
    /// When it was accepted.
    pub accepted: usize,
    /// When it was completed.
    pub completed: Option<usize>,
    /// When it failed.
    pub failed: Option<usize>,
    /// When it became durable by itself or by a flush; not what a loss of power made of it.
    pub durable: Option<usize>,
    /// Who sent the flush.
    pub author: Option<&'a Arc<str>>,
}

impl WriteLog {
    /// All requests, in the order of acceptance.
    pub fn requests(&self) -> Vec<LoggedRequest<'_>> {
        let mut requests: Vec<LoggedRequest<'_>> = Vec::new();
        // Of this power cycle.
        let mut known: BTreeMap<u64, usize> = BTreeMap::new();
        let mut authors: BTreeMap<usize, &Arc<str>> = BTreeMap::new();
        for (place, Entry { record, .. }) in self.entries().enumerate() {
            let mut step = |request: &u64, step: Step| {
                if let Some(logged) = known.get(request).and_then(|known| requests.get_mut(*known)) {
                    *step(logged) = Some(place);
                }
            };
            match record {
                Record::Accepted { request, operation } => {
                    known.insert(*request, requests.len());
                    requests.push(LoggedRequest {
                        request: *request,
                        operation,
                        accepted: place,
                        completed: None,
                        failed: None,
                        durable: None,
                        author: None,
                    });
                }
                Record::Completed { request } => step(request, |logged| &mut logged.completed),
                Record::Failed { request } => step(request, |logged| &mut logged.failed),
                Record::Durable { request } => step(request, |logged| &mut logged.durable),
                Record::Author { flush, author } => {
                    authors.insert(*flush, author);
                }
                Record::Lost { .. } => known.clear(),
                Record::Power(_) | Record::Note(_) => {}
            }
        }
        for logged in &mut requests {
            logged.author = authors.get(&logged.accepted).copied();
        }
        requests
    }

    /// The last flush that was completed before this place: what had been completed when it was accepted is durable.
    pub fn last_flush(&self, place: usize) -> Option<LoggedRequest<'_>> {
        let mut flushes = self.requests().into_iter().filter(|logged| *logged.operation == Operation::Flush);
        flushes.rfind(|flush| flush.completed.is_some_and(|completed| completed < place))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{completed, durable, flush, log, write};
    use super::*;

    #[test]
    fn steps_are_put_together() {
        let lost = Record::Lost { reverted: vec![] };
        let mut log =
            log(vec![write(0, 0, 1), flush(1), completed(0), completed(1), durable(0), lost, write(0, 0, 1)]);
        log.push(log.entries().last().unwrap().at, flush(1));
        assert!(log.set_flush_author(1, "jbd2"));
        log.push(log.entries().last().unwrap().at, Record::Failed { request: 1 });
        let told: Vec<_> = log
            .requests()
            .iter()
            .map(|r| {
                (r.request, r.accepted, r.completed, r.failed, r.durable, r.author.map(|a| a.to_string()))
            })
            .collect();
        assert_eq!(
            told,
            [
                (0, 0, Some(2), None, Some(4), None),
                (1, 1, Some(3), None, None, None),
                (0, 6, None, None, None, None),
                (1, 7, None, Some(9), None, Some("jbd2".into())),
            ]
        );
        // A flush that failed, or that is not completed, makes nothing durable.
        assert_eq!(log.last_flush(3), None);
        assert_eq!(log.last_flush(usize::MAX).map(|flush| flush.accepted), Some(1));
    }
}
