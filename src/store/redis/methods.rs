//! The methods of [`Store`], each as one script or one command.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

use super::form::{self, IntentFields, escape, flag, unescape};
use super::link::Call;
use super::{RedisStore, json};
use crate::store::position::{Position, write_mark};
use crate::store::{
    ActionId, ActionPage, ActionRecord, Claim, Error, Idempotency, Intent, IntentDelta, LockMode,
    NewEvent, PRUNED_AT_ONCE, Refusal, Result, Store, StoredEvent, Submitted,
};

/// How long [`Store::ping`] waits: a probe wants its answer soon.
const PING_TIMEOUT: Duration = Duration::from_secs(1);
/// The most that one call fetches, whatever it is asked for.
const MOST: usize = 10_000;
/// The longest lease or memory, lest the server's arithmetic overflow.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

fn millis(duration: Duration) -> Vec<u8> {
    let millis = duration.min(LONGEST).as_millis().max(1);
    millis.to_string().into_bytes()
}

fn bytes(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

fn mode_arg(mode: LockMode) -> Vec<u8> {
    bytes(match mode {
        LockMode::Shared => "s",
        LockMode::Exclusive => "x",
    })
}

#[async_trait]
impl Store for RedisStore {
    async fn ping(&self) -> Result<()> {
        let ping = redis::cmd("PING");
        let patience = PING_TIMEOUT.min(self.options.timeout);
        self.link
            .call_within::<String>(patience, Call::Command(&ping), "PING")
            .await?;
        Ok(())
    }

    async fn submit(
        &self,
        record: &ActionRecord,
        idempotency: Option<&Idempotency>,
        events: &[NewEvent],
    ) -> Result<Submitted> {
        let mut args = vec![
            bytes(&record.id.to_string()),
            json(record)?,
            flag(record.state.is_final()),
        ];
        match idempotency {
            Some(asked) => args.extend([
                bytes(&form::idempotency_name(&asked.caller, &asked.key)),
                bytes(&asked.fingerprint),
                millis(asked.retention),
            ]),
            None => args.extend([Vec::new(), Vec::new(), bytes("1")]),
        }
        args.push(bytes(&record.version.to_string()));
        args.push(bytes(&record.fence.to_string()));
        args.extend(self.event_args(events)?);
        let (verdict, id): (String, String) = self.run(&self.scripts.submit, &args).await?;
        let holder = || {
            id.parse::<ActionId>().map_err(|problem| {
                let asked = idempotency.map(|i| form::idempotency_name(&i.caller, &i.key));
                let key = self.key(&format!("idem:{}", asked.unwrap_or_default()));
                Self::corrupt(key, problem.to_string())
            })
        };
        match verdict.as_str() {
            "new" => Ok(Submitted::New(record.id)),
            "replayed" => Ok(Submitted::Replayed(holder()?)),
            _ => Err(Error::IdempotencyMismatch {
                key: idempotency.map(|i| i.key.clone()).unwrap_or_default(),
                action: holder()?,
            }),
        }
    }

    async fn idempotent(&self, caller: &str, key: &str) -> Result<Option<(ActionId, String)>> {
        let name = self.key(&format!("idem:{}", form::idempotency_name(caller, key)));
        let get = redis::cmd("GET").arg(&name).to_owned();
        let Some(known): Option<String> = self.command(&get, &name).await? else {
            return Ok(None);
        };
        let parts = known.split_once(' ').and_then(|(id, fingerprint)| {
            let id = id.parse::<ActionId>().ok()?;
            Some((id, fingerprint.to_owned()))
        });
        parts
            .map(Some)
            .ok_or_else(|| Self::corrupt(name, "names no action".into()))
    }

    async fn action(&self, id: ActionId) -> Result<Option<ActionRecord>> {
        let key = self.key(&format!("action:{id}"));
        let mut get = redis::cmd("HMGET");
        get.arg(&key).arg("record").arg("version").arg("fence");
        let fields: [Option<Vec<u8>>; 3] = self.command(&get, &key).await?;
        match fields {
            [None, None, None] => Ok(None),
            [Some(record), Some(version), Some(fence)] => form::record(&record, &version, &fence)
                .map(Some)
                .map_err(|problem| Self::corrupt(key, problem)),
            _ => Err(Self::corrupt(
                key,
                "lacks the record, the version or the fence".into(),
            )),
        }
    }

    async fn list(&self, limit: usize, from: Option<&str>) -> Result<ActionPage> {
        let limit = limit.clamp(1, MOST);
        let begin = match from {
            None => "+inf".to_owned(),
            Some(text) if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) => {
                format!("({text}")
            }
            Some(text) => return Err(Error::BadPosition(text.chars().take(80).collect())),
        };
        // One more than asked for, to know whether there is a next page.
        let args = [bytes(&begin), bytes(&(limit + 1).to_string())];
        let mut rows: Vec<Vec<Vec<u8>>> = self.run(&self.scripts.list, &args).await?;
        let more = rows.len() > limit;
        rows.truncate(limit);
        let text = |field: &[u8]| String::from_utf8_lossy(field).into_owned();
        let next = rows.last().filter(|_| more).and_then(|row| row.first());
        let mut page = ActionPage {
            actions: Vec::new(),
            next: next.map(|seq| text(seq)),
        };
        for row in &rows {
            let (id, read) = match row.as_slice() {
                [_, id, record, version, fence] => (id, form::record(record, version, fence)),
                [_, id, problem] => (id, Err(text(problem))),
                _ => continue,
            };
            match read {
                Ok(record) => page.actions.push(record),
                Err(problem) => self.skip(self.key(&format!("action:{}", text(id))), &problem),
            }
        }
        Ok(page)
    }

    async fn acquire(&self, owner: &str, ttl: Duration, limit: usize) -> Result<Vec<ActionRecord>> {
        let limit = limit.min(MOST);
        let mut taken = Vec::new();
        loop {
            let number = self.attempts.fetch_add(1, Ordering::Relaxed);
            let args = [
                bytes(owner),
                millis(ttl),
                bytes(&(limit - taken.len()).to_string()),
                bytes(&format!("{}.{number}", self.process.simple())),
            ];
            let rows: Vec<Vec<Vec<u8>>> = self.run(&self.scripts.acquire, &args).await?;
            let mut skipped = false;
            for row in &rows {
                let text = |field: &[u8]| String::from_utf8_lossy(field).into_owned();
                let (id, read) = match row.as_slice() {
                    [id, record, version, fence] => (id, form::record(record, version, fence)),
                    [id, problem] => (id, Err(text(problem))),
                    _ => continue,
                };
                match read {
                    Ok(record) => taken.push(record),
                    Err(problem) => {
                        skipped = true;
                        self.skip(self.key(&format!("action:{}", text(id))), &problem);
                    }
                }
            }
            // What cannot be read took the place of another: ask for that one.
            if !skipped || taken.len() >= limit {
                return Ok(taken);
            }
        }
    }

    async fn renew(&self, owner: &str, ids: &[ActionId], ttl: Duration) -> Result<Vec<ActionId>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut args = vec![bytes(owner), millis(ttl)];
        args.extend(ids.iter().map(|id| bytes(&id.to_string())));
        let kept: Vec<String> = self.run(&self.scripts.renew, &args).await?;
        Ok(kept.iter().filter_map(|id| id.parse().ok()).collect())
    }

    async fn release(&self, owner: &str, ids: &[ActionId]) -> Result<()> {
        if ids.is_empty() {
            return Ok(());
        }
        let mut args = vec![bytes(owner)];
        args.extend(ids.iter().map(|id| bytes(&id.to_string())));
        self.run::<i64>(&self.scripts.release, &args).await?;
        Ok(())
    }

    async fn save(&self, record: &ActionRecord, events: &[NewEvent]) -> Result<u64> {
        let id = record.id;
        let mut args = vec![
            bytes(&id.to_string()),
            json(record)?,
            bytes(&record.fence.to_string()),
            bytes(&record.version.to_string()),
            bytes(&write_mark(record, events)),
            flag(record.state.is_final()),
            self.withdrawals_kept(),
        ];
        args.extend(self.event_args(events)?);
        let answer: Vec<String> = self.run(&self.scripts.save, &args).await?;
        match answer.first().map(String::as_str) {
            Some("saved") => answer
                .get(1)
                .and_then(|version| version.parse().ok())
                .ok_or_else(|| Self::corrupt(self.key(&format!("action:{id}")), "version".into())),
            Some("missing") => Err(Error::NotFound(id)),
            Some("fenced") => Err(Error::Fenced(id)),
            _ => Err(Error::Stale(id)),
        }
    }

    async fn prune(&self, age: Duration, most: usize) -> Result<usize> {
        let args = [
            millis(age),
            bytes(&most.to_string()),
            bytes(&PRUNED_AT_ONCE.to_string()),
        ];
        self.run(&self.scripts.prune, &args).await
    }

    async fn lock(&self, name: &str, mode: LockMode, holder: &str) -> Result<bool> {
        let args = [
            bytes(&escape(name)),
            mode_arg(mode),
            bytes(holder),
            bytes(&escape(holder)),
        ];
        match self.run::<i64>(&self.scripts.lock, &args).await? {
            -1 => Err(holder.parse().map_or_else(
                |_| Error::Unfit("the holder has ended".into()),
                Error::Fenced,
            )),
            answer => Ok(answer == 1),
        }
    }

    async fn unlock(&self, name: &str, holder: &str) -> Result<()> {
        let args = [bytes(&escape(name)), bytes(holder), bytes(&escape(holder))];
        self.run::<i64>(&self.scripts.unlock, &args).await?;
        Ok(())
    }

    async fn put_intent(&self, intent: &Intent) -> Result<()> {
        let args = form::intent_args(intent)
            .map_err(|problem| Error::Unfit(format!("cannot be kept: {problem}")))?;
        match self.run::<i64>(&self.scripts.put_intent, &args).await? {
            -1 => Err(Error::Fenced(intent.action)),
            _ => Ok(()),
        }
    }

    async fn redirect_intent(&self, id: &str, node: Option<&str>, hold: bool) -> Result<bool> {
        let args = [bytes(&escape(id)), json(&node)?, flag(hold)];
        Ok(self
            .run::<i64>(&self.scripts.redirect_intent, &args)
            .await?
            == 1)
    }

    async fn withdraw_intent(&self, id: &str) -> Result<Option<Intent>> {
        let args = [bytes(&escape(id)), self.withdrawals_kept()];
        let fields: IntentFields = self.run(&self.scripts.withdraw_intent, &args).await?;
        self.read_intent(id, &fields)
    }

    async fn intent(&self, id: &str) -> Result<Option<Intent>> {
        let args = [bytes(&escape(id))];
        let fields: IntentFields = self.run(&self.scripts.intent, &args).await?;
        self.read_intent(id, &fields)
    }

    async fn claim(&self, id: &str, claim: &Claim, instead_of: Option<&str>) -> Result<bool> {
        let args = [
            bytes(&escape(id)),
            bytes(&claim.uid),
            bytes(&escape(&claim.uid)),
            json(claim)?,
            flag(claim.held),
            bytes(instead_of.unwrap_or_default()),
        ];
        Ok(self.run::<i64>(&self.scripts.claim, &args).await? == 1)
    }

    async fn unclaim(&self, id: &str, pod_uid: &str) -> Result<()> {
        let args = [bytes(&escape(id)), bytes(pod_uid)];
        self.run::<i64>(&self.scripts.unclaim, &args).await?;
        Ok(())
    }

    async fn refuse_intent(&self, id: &str, refusal: &Refusal) -> Result<()> {
        let args = [bytes(&escape(id)), json(refusal)?];
        self.run::<i64>(&self.scripts.refuse_intent, &args).await?;
        Ok(())
    }

    async fn intents_since(&self, since: u64) -> Result<IntentDelta> {
        type Answer = (u64, i64, Vec<(String, IntentFields)>, Vec<String>);
        let args = [bytes(&since.to_string())];
        let (revision, full, rows, gone): Answer =
            self.run(&self.scripts.intents_since, &args).await?;
        let mut delta = IntentDelta {
            revision,
            full: full == 1,
            changed: Vec::new(),
            withdrawn: gone.iter().map(|name| unescape(name)).collect(),
        };
        for (name, fields) in rows {
            match form::intent(&fields) {
                Ok(intent) => delta.changed.push(intent),
                Err(problem) => self.skip(self.key(&format!("intent:{name}")), &problem),
            }
        }
        Ok(delta)
    }

    async fn events_after(&self, after: Option<&str>, limit: usize) -> Result<Vec<StoredEvent>> {
        type Entry = (String, HashMap<String, Vec<u8>>);
        let mut after: Position = match after {
            None => Position::default(),
            Some(text) => text
                .parse()
                .map_err(|_| Error::BadPosition(text.chars().take(80).collect()))?,
        };
        let key = self.key("events");
        let limit = limit.min(MOST);
        let mut events = Vec::new();
        // More than once only when a page held nothing that can be read.
        while events.is_empty() && limit > 0 && after != Position::MAX {
            let mut range = redis::cmd("XRANGE");
            range.arg(&key).arg(format!("({after}")).arg("+");
            range.arg("COUNT").arg(limit);
            let entries: Vec<Entry> = self.command(&range, &key).await?;
            let Some((last, _)) = entries.last() else {
                break;
            };
            after = last
                .parse()
                .map_err(|_| Self::corrupt(key.clone(), format!("has an entry {last}")))?;
            for (position, fields) in entries {
                match form::event(&fields) {
                    Ok(event) => events.push(StoredEvent { position, event }),
                    Err(problem) => self.skip(format!("{key} at {position}"), &problem),
                }
            }
        }
        Ok(events)
    }

    async fn last_event(&self) -> Result<Option<String>> {
        let key = self.key("events");
        let mut newest = redis::cmd("XREVRANGE");
        newest.arg(&key).arg("+").arg("-").arg("COUNT").arg(1);
        let entries: Vec<(String, redis::Value)> = self.command(&newest, &key).await?;
        Ok(entries.into_iter().next().map(|(position, _)| position))
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}
