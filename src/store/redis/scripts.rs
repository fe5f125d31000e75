//! The scripts. Each is one indivisible step on the server.

use redis::Script;

const PRELUDE: &str = include_str!("lua/prelude.lua");

macro_rules! scripts {
    ($($name:ident),* $(,)?) => {
        /// All of them, with the digests that they are called by.
        pub(super) struct Scripts {
            $(pub(super) $name: Script,)*
        }

        impl Scripts {
            pub(super) fn new() -> Self {
                let script = |body: &str| Script::new(&format!("{PRELUDE}\n{body}"));
                Self {
                    $($name: script(include_str!(concat!("lua/", stringify!($name), ".lua"))),)*
                }
            }
        }
    };
}

scripts![
    submit,
    acquire,
    renew,
    release,
    save,
    prune,
    list,
    lock,
    unlock,
    put_intent,
    redirect_intent,
    withdraw_intent,
    intent,
    claim,
    unclaim,
    refuse_intent,
    intents_since,
    rebase,
];

impl std::fmt::Debug for Scripts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scripts").finish_non_exhaustive()
    }
}
