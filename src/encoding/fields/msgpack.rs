use crate::entity::flush::Fields;
use crate::error::Error;

pub fn decode(text: &[u8]) -> Result<Fields<'_>, Error> {
    let _ = text;
    Ok(Vec::new())
}
