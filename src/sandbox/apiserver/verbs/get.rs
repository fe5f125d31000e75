//! `get`.

use crate::sandbox::apiserver::call::Call;
use crate::sandbox::apiserver::error::Error;
use crate::sandbox::apiserver::reply::Reply;

pub(crate) fn get(call: &Call) -> Result<Reply, Error> {
    super::list::check_table(call)?;
    Ok(call.object(200, &*call.live()?))
}
