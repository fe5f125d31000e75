//! The methods and their arguments, as they stand on the wire; the checks of the original that need no
//! cluster, in its order and its words (create.go, delete.go, move.go, swap.go).

use serde_json::Value;

use super::decode::{self, Object, Raw, Target};
use super::quote;
use crate::actions::request::{NodeArg, PodArg, WorkloadArg};
use crate::actions::{Arguments, Request};

/// The most actions that one page of `action.List` holds.
const PAGE_MAX: i64 = 500;
/// How many it holds when the caller does not say.
const PAGE_DEFAULT: i64 = 100;

/// The members of a request (gorilla/rpc json/server.go, `serverRequest`).
#[derive(Debug, Default)]
pub(super) struct Envelope {
    /// `service.Method`.
    pub(super) method: String,
    /// The arguments; none if missing or null.
    pub(super) params: Raw,
    /// None makes it a notification.
    pub(super) id: Raw,
}

impl Object for Envelope {
    const NAME: &'static str = "serverRequest";
    const PACKAGE: &'static str = "json";
    fn fields(&mut self) -> Vec<(&'static str, &mut dyn Target)> {
        vec![
            ("method", &mut self.method),
            ("params", &mut self.params),
            ("id", &mut self.id),
        ]
    }
}

/// A method that can be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Create,
    Delete,
    Move,
    Swap,
    Get,
    List,
}

impl Method {
    /// Finds a method by its name on the wire.
    ///
    /// # Errors
    /// gorilla/rpc's texts (map.go) for a name that is none, and for unknown services and methods.
    pub(super) fn find(name: &str) -> Result<Self, String> {
        let mut parts = name.split('.');
        let (Some(service), Some(method), None) = (parts.next(), parts.next(), parts.next()) else {
            let name = quote::go(name);
            return Err(format!("rpc: service/method request ill-formed: {name}"));
        };
        let name = quote::go(name);
        if service != "action" {
            return Err(format!("rpc: can't find service {name}"));
        }
        Ok(match method {
            "Create" => Self::Create,
            "Delete" => Self::Delete,
            "Move" => Self::Move,
            "Swap" => Self::Swap,
            "Get" => Self::Get,
            "List" => Self::List,
            _ => return Err(format!("rpc: can't find method {name}")),
        })
    }

    /// Its name on the wire.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Create => "action.Create",
            Self::Delete => "action.Delete",
            Self::Move => "action.Move",
            Self::Swap => "action.Swap",
            Self::Get => "action.Get",
            Self::List => "action.List",
        }
    }
}

impl Object for WorkloadArg {
    const NAME: &'static str = "Workload";
    fn fields(&mut self) -> Vec<(&'static str, &mut dyn Target)> {
        vec![
            ("namespace", &mut self.namespace),
            ("apiVersion", &mut self.api_version),
            ("kind", &mut self.kind),
            ("name", &mut self.name),
        ]
    }
}

impl Object for NodeArg {
    const NAME: &'static str = "Node";
    fn fields(&mut self) -> Vec<(&'static str, &mut dyn Target)> {
        vec![("name", &mut self.name)]
    }
}

impl Object for PodArg {
    const NAME: &'static str = "Pod";
    fn fields(&mut self) -> Vec<(&'static str, &mut dyn Target)> {
        vec![
            ("namespace", &mut self.namespace),
            ("name", &mut self.name),
            ("uid", &mut self.uid),
        ]
    }
}

/// Declares the arguments of a method with their names on the wire.
macro_rules! arguments {
    ($name:ident { $($key:literal $field:ident: $type:ty),* $(,)? }) => {
        #[derive(Debug, Default)]
        struct $name { $($field: $type),* }
        impl Object for $name {
            const NAME: &'static str = stringify!($name);
            fn fields(&mut self) -> Vec<(&'static str, &mut dyn Target)> {
                vec![$(($key, &mut self.$field)),*]
            }
        }
    };
}

arguments!(CreateArgs { "workload" workload: WorkloadArg, "node" node: NodeArg, "options" options: Raw });
arguments!(DeleteArgs { "pod" pod: PodArg, "options" options: Raw });
arguments!(MoveArgs { "pod" pod: PodArg, "node" node: NodeArg, "options" options: Raw });
arguments!(SwapArgs { "x" x: PodArg, "y" y: Vec<PodArg>, "options" options: Raw });
arguments!(GetArgs { "actionId" action_id: String });
arguments!(ListArgs { "limit" limit: i64, "continue" from: String });

/// What is to be done.
#[derive(Debug)]
pub(super) enum Call {
    /// Hand this over.
    Submit(Request),
    /// Look this up.
    Get(String),
    /// List from here, so many.
    List { limit: usize, from: Option<String> },
}

/// Decodes `params` and checks what can be checked without a cluster. The outer error is the decoder's
/// (status 400), the inner one the method's.
///
/// # Errors
/// See [`decode::Error`].
pub(super) fn read(method: Method, params: &[u8]) -> Result<Result<Call, String>, decode::Error> {
    Ok(match method {
        Method::Create => {
            let args: CreateArgs = first(params)?;
            create(args)
        }
        Method::Delete => {
            let args: DeleteArgs = first(params)?;
            named(args.pod, "pod's name must be specified")
                .and_then(|pod| submit(Arguments::Delete { pod }, &args.options))
        }
        Method::Move => {
            let args: MoveArgs = first(params)?;
            named(args.pod, "pod's name must be specified").and_then(|pod| {
                let node = placed(args.node)?;
                submit(Arguments::Move { pod, node }, &args.options)
            })
        }
        Method::Swap => {
            let args: SwapArgs = first(params)?;
            swap(args)
        }
        Method::Get => {
            let args: GetArgs = first(params)?;
            if args.action_id.is_empty() {
                Err("actionId is required".to_owned())
            } else {
                Ok(Call::Get(args.action_id))
            }
        }
        Method::List => {
            let args: ListArgs = first(params)?;
            list(args)
        }
    })
}

fn first<T: Object + Default>(params: &[u8]) -> Result<T, decode::Error> {
    let mut args = T::default();
    decode::decode_first(params, &mut args)?;
    Ok(args)
}

fn create(args: CreateArgs) -> Result<Call, String> {
    let mut workload = args.workload;
    if workload.api_version != "apps/v1" {
        return Err("only apps/v1 workload API version is supported".to_owned());
    }
    if workload.kind != "Deployment" {
        return Err("only Deployment kind is supported".to_owned());
    }
    default_namespace(&mut workload.namespace);
    if workload.name.is_empty() {
        return Err("workload name is required".to_owned());
    }
    let node = placed(args.node)?;
    submit(Arguments::Create { workload, node }, &args.options)
}

fn swap(args: SwapArgs) -> Result<Call, String> {
    let x = named(args.x, "x pod's name must be specified")?;
    // The original takes an empty y, deletes x and makes it again on no node.
    if args.y.is_empty() {
        return Err("y pods must be specified".to_owned());
    }
    let y = args
        .y
        .into_iter()
        .enumerate()
        .map(|(index, pod)| {
            let missing = format!("y pod's, at index {index}, name must be specified");
            named(pod, &missing)
        })
        .collect::<Result<_, _>>()?;
    submit(Arguments::Swap { x, y }, &args.options)
}

fn list(args: ListArgs) -> Result<Call, String> {
    let limit = match args.limit {
        0 => PAGE_DEFAULT,
        1.. => args.limit.min(PAGE_MAX),
        _ => return Err("limit must not be negative".to_owned()),
    };
    Ok(Call::List {
        limit: usize::try_from(limit).unwrap_or(1),
        from: Some(args.from).filter(|from| !from.is_empty()),
    })
}

fn named(mut pod: PodArg, missing: &str) -> Result<PodArg, String> {
    default_namespace(&mut pod.namespace);
    if pod.name.is_empty() {
        return Err(missing.to_owned());
    }
    Ok(pod)
}

fn placed(node: NodeArg) -> Result<NodeArg, String> {
    if node.name.is_empty() {
        return Err("node name is required".to_owned());
    }
    Ok(node)
}

fn default_namespace(namespace: &mut String) {
    if namespace.is_empty() {
        "default".clone_into(namespace);
    }
}

fn submit(arguments: Arguments, options: &Raw) -> Result<Call, String> {
    let options = match &options.0 {
        None => None,
        // serde_json bounds the depth, so that nobody behind this can be made to recurse.
        Some(raw) => Some(
            serde_json::from_str::<Value>(&String::from_utf8_lossy(raw))
                .map_err(|error| format!("options: {error}"))?,
        ),
    };
    Ok(Call::Submit(Request {
        arguments,
        options,
        caller: String::new(),
    }))
}
