//! XEP-0004: data forms, as far as results need them. XEP-0068 says how they are typed, XEP-0128 how they extend disco#info.

use crate::ns;
use crate::xml::Writer;

/// Opens a form of type `result` whose fields are those of `form_type`. The caller adds them and closes it.
pub(crate) fn open_result(xml: &mut Writer<'_>, form_type: &str) {
    xml.open("x").ns(ns::DATA_FORMS).attr("type", "result");
    // XEP-0068 §3.1
    xml.open("field").attr("var", "FORM_TYPE").attr("type", "hidden").simple("value", form_type).close();
}

/// A field and its values.
pub(crate) fn field<'v>(xml: &mut Writer<'_>, name: &str, values: impl IntoIterator<Item = &'v str>) {
    xml.open("field").attr("var", name);
    for value in values {
        xml.simple("value", value);
    }
    xml.close();
}
