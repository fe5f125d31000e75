//! The Redis store against a real server: the contract, and what a server may do to us.

#[path = "support/cutter.rs"]
mod cutter;
#[path = "support/redis.rs"]
mod server;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use cutter::Cutter;
use redis::AsyncCommands;
use server::Redis;
use tokio::task::JoinSet;
use wam::clock;
use wam::store::contract::{self, fixtures::*};
use wam::store::{
    ActionId, ActionState, Error, LockMode, RedisOptions, RedisStore, Store, Submitted,
};

const SUITE: &str = "store_redis";

fn options(server: &Redis) -> RedisOptions {
    RedisOptions::from_url(server.url())
}

async fn connect(server: &Redis) -> RedisStore {
    RedisStore::connect(options(server)).await.expect("connect")
}

/// A plain connection, to look behind the store's back.
async fn plain(server: &Redis) -> redis::aio::MultiplexedConnection {
    let client = redis::Client::open(server.url()).expect("url");
    client
        .get_multiplexed_async_connection()
        .await
        .expect("connect")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_the_contract() {
    let Some(server) = Redis::start_or_skip(SUITE) else {
        return;
    };
    let cases = contract::CASES.iter().chain(contract::SHARED_CASES);
    for (n, case) in cases.enumerate() {
        eprintln!("{}", case.name);
        let store = RedisStore::connect(RedisOptions {
            prefix: format!("case-{n}"),
            ..options(&server)
        });
        case.run(Arc::new(store.await.expect("connect"))).await;
    }
    // Every key hangs on its hash tag, so that each script touches one slot of a cluster.
    let keys: Vec<String> = plain(&server).await.keys("*").await.expect("keys");
    assert!(keys.len() > 100);
    for key in keys {
        let (prefix, rest) = key.split_once(':').expect("a prefix");
        assert!(rest.starts_with(&format!("{{{prefix}}}:")), "{key}");
    }
}

#[tokio::test]
async fn laggards_get_everything() {
    let Some(server) = Redis::start_or_skip(SUITE) else {
        return;
    };
    let store = RedisStore::connect(RedisOptions {
        withdrawals_kept: 2,
        ..options(&server)
    });
    contract::bounds::laggards_get_everything(&store.await.expect("connect"), 2).await;
}

/// Eight writers, and the server killed three times among them: what was acknowledged is there, once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_server_loses_nothing_acknowledged() {
    let Some(mut server) = Redis::start_or_skip(SUITE) else {
        return;
    };
    let store = Arc::new(connect(&server).await);
    let mut writers = JoinSet::new();
    let (progress, mut seen) = tokio::sync::watch::channel(0_usize);
    for _ in 0..8 {
        let store = Arc::clone(&store);
        let progress = progress.clone();
        writers.spawn(async move {
            let mut acknowledged = Vec::new();
            for n in 0..60 {
                let mine = record();
                let name = format!("{}.accepted", mine.id);
                let key = idempotency(&format!("{}.{n}", mine.id), "print");
                loop {
                    match store.submit(&mine, Some(&key), &[event(&name)]).await {
                        Ok(answer) => {
                            assert_eq!(answer, Submitted::New(mine.id));
                            break;
                        }
                        Err(Error::Unavailable(_)) => {}
                        Err(other) => panic!("{other}"),
                    }
                }
                acknowledged.push(mine.id);
                progress.send_modify(|count| *count += 1);
            }
            acknowledged
        });
    }
    for goal in [40, 160, 320] {
        seen.wait_for(|count| *count >= goal).await.expect("go on");
        server.restart();
    }
    let acknowledged: Vec<ActionId> = writers.join_all().await.concat();
    let expected: HashSet<ActionId> = acknowledged.iter().copied().collect();
    assert_eq!(expected.len(), 480);

    server.restart();
    let mut taken = HashSet::new();
    loop {
        let some = store.acquire("me", MINUTE, 100).await.expect("acquire");
        if some.is_empty() {
            break;
        }
        taken.extend(ids(&some));
    }
    assert_eq!(taken, expected);
    let events = store.events_after(None, 1000).await.expect("events");
    let names: HashSet<&str> = events.iter().map(|e| e.event.id.as_str()).collect();
    assert_eq!((events.len(), names.len()), (480, 480));
}

#[tokio::test]
async fn absent_and_silent_servers_are_unavailable_in_time_and_come_back() {
    let Some(mut server) = Redis::start_or_skip(SUITE) else {
        return;
    };
    // What bounds a hang on a machine of any speed.
    const HANG: Duration = Duration::from_secs(30);
    let timeout = Duration::from_secs(2);
    let store = RedisStore::connect(RedisOptions {
        timeout,
        ..options(&server)
    });
    let store = store.await.expect("connect");
    let id = submit(&store).await.id;

    server.stop();
    let begun = clock::instant();
    let answer = store.action(id).await;
    let took = begun.elapsed();
    assert!(matches!(&answer, Err(Error::Unavailable(text)) if text.contains("cannot reach")));
    assert!(took < HANG, "{took:?}");
    assert!(store.ping().await.is_err());
    let gone = RedisStore::connect(RedisOptions {
        timeout,
        ..options(&server)
    });
    assert!(matches!(gone.await, Err(Error::Unavailable(_))));

    server.resume();
    until_it_answers(&store).await;
    assert!(store.action(id).await.expect("action").is_some());

    server.freeze();
    let begun = clock::instant();
    let answer = store.action(id).await;
    let took = begun.elapsed();
    assert!(
        matches!(&answer, Err(Error::Unavailable(text)) if text.contains("did not answer")),
        "{answer:?}"
    );
    assert!(took >= timeout && took < HANG, "{took:?}");
    server.thaw();
    until_it_answers(&store).await;
    assert!(store.action(id).await.expect("action").is_some());
}

/// A probe waits a second at most, which a slow machine may need to connect.
async fn until_it_answers(store: &RedisStore) {
    let give_up = clock::instant() + MINUTE;
    while let Err(error) = store.ping().await {
        assert!(clock::instant() < give_up, "{error}");
    }
}

/// A server that is away for less than the timeout is not noticed by callers.
#[tokio::test]
async fn short_restart_is_ridden_out() {
    let Some(mut server) = Redis::start_or_skip(SUITE) else {
        return;
    };
    let store = connect(&server).await;
    let mine = acquired(&store, "me").await;
    store
        .put_intent(&intent("a.1", mine.id))
        .await
        .expect("put");
    let before = store.intents_since(0).await.expect("delta").revision;
    let mut changes = store.changes();
    server.restart();
    until_it_answers(&store).await;
    assert_eq!(
        store.renew("me", &[mine.id], MINUTE).await.expect("renew"),
        [mine.id],
        "the lease is the server's and survives"
    );
    // Whoever listens is woken, and reads all intents: the server might have lost some.
    let give_up = clock::instant() + MINUTE;
    loop {
        let delta = store.intents_since(before).await.expect("delta");
        if delta.full {
            assert_eq!(delta.changed.len(), 1);
            break;
        }
        assert!(clock::instant() < give_up, "the reader was not told");
        let _ = clock::timeout(Duration::from_secs(1), changes.changed()).await;
    }
    let other = connect(&server).await;
    changes.mark_unchanged();
    submit(&other).await;
    let woken = clock::timeout(MINUTE, changes.changed()).await;
    woken.expect("listening again").expect("the store lives");
}

/// Each call is carried out, its reply is lost, and the caller sees what it would have seen.
#[tokio::test]
async fn lost_replies_do_no_harm() {
    let Some(server) = Redis::start_or_skip(SUITE) else {
        return;
    };
    let cutter = Cutter::before(server.port()).await;
    let store = RedisStore::connect(RedisOptions {
        port: cutter.port(),
        ..RedisOptions::default()
    });
    let store = store.await.expect("connect");
    // The first use of a script loads it; that exchange is not the one to lose.
    for warm in [true, false] {
        let lose = || {
            if !warm {
                assert_eq!(cutter.left(), 0, "the last reply was lost as meant");
                cutter.lose_replies(1);
            }
        };
        let submitted = record();
        let name = submitted.id.to_string();
        let key = idempotency(&name, "print");
        let events = [event(&name)];
        let log = async || store.events_after(None, 99).await.expect("events").len();
        let logged = log().await;

        lose();
        let answer = store.submit(&submitted, Some(&key), &events).await;
        assert_eq!(answer.expect("submit"), Submitted::New(submitted.id));
        lose();
        let taken = store.acquire("me", MINUTE, 5).await.expect("acquire");
        assert_eq!(ids(&taken), [submitted.id]);
        assert_eq!(taken[0].fence, 1);
        lose();
        let kept = store.renew("me", &[submitted.id], MINUTE).await;
        assert_eq!(kept.expect("renew"), [submitted.id]);
        let mut running = taken[0].clone();
        running.state = ActionState::Running;
        lose();
        running.version = store.save(&running, &[event("s")]).await.expect("save");
        assert_eq!(running.version, 1);
        lose();
        assert!(
            store
                .lock("l", LockMode::Exclusive, &name)
                .await
                .expect("lock")
        );
        lose();
        store.unlock("l", &name).await.expect("unlock");
        let wanted = intent(&format!("{name}.1"), submitted.id);
        lose();
        store.put_intent(&wanted).await.expect("put");
        lose();
        assert!(
            store
                .claim(&wanted.id, &claim_of("p"), None)
                .await
                .expect("claim")
        );
        lose();
        let stored = store.intent(&wanted.id).await.expect("intent").expect("it");
        assert_eq!(stored.claims, 1);
        lose();
        let last = store.withdraw_intent(&wanted.id).await.expect("withdraw");
        assert_eq!(last, Some(stored));
        lose();
        let done = ended(&running);
        assert_eq!(store.save(&done, &[event("d")]).await.expect("save"), 2);
        lose();
        assert_eq!(store.list(1, None).await.expect("list").actions.len(), 1);
        lose();
        assert_eq!(log().await, logged + 3);
    }
    assert_eq!(cutter.left(), 0);
}

#[tokio::test]
async fn garbage_is_named_and_does_not_keep_the_others() {
    let Some(server) = Redis::start_or_skip(SUITE) else {
        return;
    };
    let store = connect(&server).await;
    let mut con = plain(&server).await;
    let good_before = submit(&store).await.id;
    let no_json = submit(&store).await.id;
    let other_json = submit(&store).await.id;
    let no_hash = submit(&store).await.id;
    let vanished = submit(&store).await.id;
    let no_fence = submit(&store).await.id;
    let good_after = submit(&store).await.id;
    let key = |id: ActionId| format!("wam:{{wam}}:action:{id}");
    let _: () = con
        .hset(key(no_json), "record", "{\"half\"")
        .await
        .expect("hset");
    let _: () = con
        .hset(key(other_json), "record", b"\xff\xfe[1]")
        .await
        .expect("hset");
    let _: () = con.del(key(no_hash)).await.expect("del");
    let _: () = con.set(key(no_hash), "text").await.expect("set");
    let _: () = con.del(key(vanished)).await.expect("del");
    let _: () = con
        .hset(key(no_fence), "fence", "many")
        .await
        .expect("hset");
    let _: () = con
        .zadd("wam:{wam}:queue", "no id at all", 0)
        .await
        .expect("zadd");

    for bad in [no_json, other_json, no_hash, no_fence] {
        match store.action(bad).await {
            Err(Error::Corrupt { key: named, .. }) => assert_eq!(named, key(bad)),
            other => panic!("{other:?}"),
        }
    }
    assert!(store.action(vanished).await.expect("action").is_none());
    let page = store.list(99, None).await.expect("list");
    assert_eq!(ids(&page.actions), [good_after, good_before]);
    // One at a time: what cannot be read stands in nobody's way.
    for good in [good_before, good_after] {
        let taken = store.acquire("me", MINUTE, 1).await.expect("acquire");
        assert_eq!(ids(&taken), [good]);
    }
    assert!(
        store
            .acquire("me", MINUTE, 1)
            .await
            .expect("acquire")
            .is_empty()
    );
    assert_eq!(store.unreadable(), 6);
    let mut fenceless = record();
    fenceless.id = no_fence;
    let answer = store.save(&fenceless, &[]).await;
    assert!(matches!(answer, Err(Error::Corrupt { key: named, .. }) if named == key(no_fence)));

    // Intents.
    for id in ["a.1", "a.2", "a.3"] {
        store
            .put_intent(&intent(id, good_before))
            .await
            .expect("put");
    }
    let _: () = con
        .hset("wam:{wam}:intent:a.1", "base", "[]")
        .await
        .expect("hset");
    let _: () = con.del("wam:{wam}:intent:a.2").await.expect("del");
    let _: () = con.lpush("wam:{wam}:intent:a.2", "x").await.expect("lpush");
    let delta = store.intents_since(0).await.expect("delta");
    assert_eq!(delta.changed.len(), 1);
    assert_eq!(delta.changed[0].id, "a.3");
    for id in ["a.1", "a.2"] {
        let named = format!("wam:{{wam}}:intent:{id}");
        match store.intent(id).await {
            Err(Error::Corrupt { key, .. }) => assert_eq!(key, named),
            other => panic!("{other:?}"),
        }
    }
    let answer = store.claim("a.2", &claim_of("p"), None).await;
    assert!(matches!(answer, Err(Error::Corrupt { .. })), "{answer:?}");

    // Events: the bad one is left out, the log goes on.
    let _: () = con
        .xadd("wam:{wam}:events", "*", &[("what", "ever")])
        .await
        .expect("xadd");
    let mine = store
        .action(good_before)
        .await
        .expect("action")
        .expect("it");
    store.save(&mine, &[event("after")]).await.expect("save");
    let events = store.events_after(None, 1).await.expect("events");
    assert_eq!(events[0].event, event("after"));

    // A key that everything needs: nothing is half written.
    let _: () = con.del("wam:{wam}:events").await.expect("del");
    let _: () = con.set("wam:{wam}:events", "text").await.expect("set");
    let refused = record();
    match store.submit(&refused, None, &[event("x")]).await {
        Err(Error::Corrupt { key, problem }) => {
            assert_eq!(key, "wam:{wam}:events");
            assert_eq!(problem, "holds a string where a stream belongs");
        }
        other => panic!("{other:?}"),
    }
    assert!(store.action(refused.id).await.expect("action").is_none());
    let answer = store.events_after(None, 1).await;
    assert!(matches!(answer, Err(Error::Corrupt { key, .. }) if key == "wam:{wam}:events"));
    let answer = store.last_event().await;
    assert!(matches!(answer, Err(Error::Corrupt { .. })), "{answer:?}");
}

#[tokio::test]
async fn full_and_read_only_servers_are_survived() {
    let Some(server) = Redis::start_or_skip(SUITE) else {
        return;
    };
    let store = RedisStore::connect(RedisOptions {
        timeout: Duration::from_secs(3),
        ..options(&server)
    });
    let store = store.await.expect("connect");
    let mut con = plain(&server).await;
    let set = async |con: &mut redis::aio::MultiplexedConnection, words: &[&str]| {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.query_async::<()>(con).await.expect("set");
    };
    submit(&store).await;
    set(&mut con, &["CONFIG", "SET", "maxmemory", "1"]).await;
    let refused = record();
    let answer = store.submit(&refused, None, &[event("x")]).await;
    assert!(
        matches!(&answer, Err(Error::Unavailable(text)) if text.contains("full")),
        "{answer:?}"
    );
    set(&mut con, &["CONFIG", "SET", "maxmemory", "0"]).await;
    assert!(store.action(refused.id).await.expect("action").is_none());
    let answer = store.submit(&refused, None, &[event("x")]).await;
    assert_eq!(answer.expect("submit"), Submitted::New(refused.id));

    set(&mut con, &["REPLICAOF", "127.0.0.1", "1"]).await;
    let answer = store.submit(&record(), None, &[]).await;
    assert!(
        matches!(&answer, Err(Error::Unavailable(text)) if text.contains("replica")),
        "{answer:?}"
    );
    let replica = RedisStore::connect(options(&server)).await;
    assert!(matches!(&replica, Err(Error::Unavailable(text)) if text.contains("replica")));
    set(&mut con, &["REPLICAOF", "NO", "ONE"]).await;
    submit(&store).await;
}

#[tokio::test]
async fn unfit_servers_are_refused_and_risky_ones_warned_about() {
    let Some(server) = Redis::start_or_skip(SUITE) else {
        return;
    };
    assert!(connect(&server).await.warnings().is_empty());
    let Ok(risky) = Redis::start_with(&["--appendonly", "no"]) else {
        panic!("one server started, the other did not");
    };
    let store = connect(&risky).await;
    assert_eq!(store.warnings().len(), 1);
    assert!(store.warnings()[0].contains("appendonly no"));

    let mut con = plain(&server).await;
    let mut config = redis::cmd("CONFIG");
    config.arg("SET").arg("maxmemory-policy").arg("allkeys-lru");
    config.query_async::<()>(&mut con).await.expect("config");
    match RedisStore::connect(options(&server)).await {
        Err(Error::Unfit(text)) => assert!(text.contains("allkeys-lru"), "{text}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn passwords_and_permissions() {
    let Ok(server) = Redis::start_with(&["--requirepass", "sesame"]) else {
        return server::skip(SUITE, "no redis-server");
    };
    let with = |password: Option<&str>| RedisOptions {
        password: password.map(str::to_owned),
        timeout: Duration::from_secs(3),
        ..options(&server)
    };
    for bad in [None, Some(""), Some("open")] {
        match RedisStore::connect(with(bad)).await {
            Err(Error::Unavailable(text)) => assert!(text.contains("password"), "{text}"),
            other => panic!("{other:?}"),
        }
    }
    let store = RedisStore::connect(with(Some("sesame"))).await;
    let store = store.expect("connect");
    assert!(!format!("{store:?}").contains("sesame"));
    submit(&store).await;
    // A user who may not look at the settings: a warning, no refusal.
    let client = redis::Client::open(format!("redis://:sesame@127.0.0.1:{}", server.port()));
    let mut con = client
        .expect("url")
        .get_multiplexed_async_connection()
        .await
        .expect("connect");
    let mut acl = redis::cmd("ACL");
    acl.arg("SETUSER").arg("wam").arg("on").arg(">word");
    acl.arg("~wam:*").arg("+@all").arg("-config");
    acl.query_async::<()>(&mut con).await.expect("acl");
    let user = RedisOptions {
        username: Some("wam".into()),
        ..with(Some("word"))
    };
    let store = RedisStore::connect(user).await.expect("connect");
    assert_eq!(store.warnings().len(), 1, "{:?}", store.warnings());
    assert!(store.warnings()[0].contains("CONFIG GET"));
    submit(&store).await;
}

/// Not a test: prints how many actions a second go through. `cargo test --release --test store_redis --
/// --ignored --nocapture throughput`
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn throughput() {
    const ACTIONS: usize = 4000;
    let cases: [(&str, &[&str]); 2] = [
        (
            "appendfsync always",
            &["--appendonly", "yes", "--appendfsync", "always"],
        ),
        ("no append-only file", &["--appendonly", "no"]),
    ];
    for (name, settings) in cases {
        let server = Redis::start_with(settings).expect("redis-server");
        let store = Arc::new(connect(&server).await);
        let begun = clock::instant();
        let mut clients = JoinSet::new();
        for _ in 0..32 {
            let store = Arc::clone(&store);
            clients.spawn(async move {
                for _ in 0..ACTIONS / 32 {
                    submit(&*store).await;
                }
            });
        }
        clients.join_all().await;
        let submitted = begun.elapsed();
        let begun = clock::instant();
        let mut executors = JoinSet::new();
        for n in 0..32 {
            let store = Arc::clone(&store);
            executors.spawn(async move {
                let owner = n.to_string();
                let mut saves = 0;
                loop {
                    let taken = store.acquire(&owner, MINUTE, 16).await.expect("acquire");
                    if taken.is_empty() {
                        return saves;
                    }
                    for mine in taken {
                        let name = mine.id.to_string();
                        let mut running = mine.clone();
                        running.state = ActionState::Running;
                        running.version =
                            store.save(&running, &[event(&name)]).await.expect("save");
                        store
                            .save(&ended(&running), &[event(&name), event("e")])
                            .await
                            .expect("save");
                        saves += 2;
                    }
                }
            });
        }
        let saves: usize = executors.join_all().await.into_iter().sum();
        let executed = begun.elapsed();
        println!(
            "{name}: {:.0} submits/s, then {:.0} saves/s with acquires ({ACTIONS} actions)",
            ACTIONS as f64 / submitted.as_secs_f64(),
            saves as f64 / executed.as_secs_f64(),
        );
    }
}
