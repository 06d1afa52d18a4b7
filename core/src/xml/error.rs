//! Why a peer's XML was refused, one variant per cause.

/// A reason to end the stream. Every variant names the stream error condition (RFC 6120 §4.9.3) it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum XmlError {
    /// A tag, attribute or name is not written as XML 1.0 asks. `not-well-formed`.
    #[error("a tag or an attribute is malformed")]
    Syntax,
    /// The element ends before its end tag. `not-well-formed`.
    #[error("the element is not complete")]
    Truncated,
    /// An end tag does not match the open element. `not-well-formed`.
    #[error("an end tag does not match its start tag")]
    MismatchedTag,
    /// Characters other than white space outside any element, where the stream allows none. `not-well-formed`.
    #[error("text outside of any element")]
    TextOutsideElement,
    /// Something follows the end of the stream or of the only element allowed. `not-well-formed`.
    #[error("content after the end")]
    ContentAfterEnd,
    /// One element has two attributes of the same expanded name. `not-well-formed`.
    #[error("an attribute is given twice")]
    DuplicateAttribute,
    /// `]]>` in character data outside CDATA. `not-well-formed`.
    #[error("']]>' in character data")]
    CdataEndInText,
    /// A character or a character reference that XML 1.0 §2.2 does not allow, such as NUL. `not-well-formed`.
    #[error("a character that XML does not allow")]
    ForbiddenCharacter,
    /// An `&` that starts no reference, or a reference without `;`. `not-well-formed`.
    #[error("a malformed reference")]
    MalformedReference,
    /// A prefix without a declaration in scope. `not-well-formed` (RFC 6120 §11.3: not namespace-well-formed).
    #[error("an undeclared namespace prefix")]
    UndeclaredPrefix,
    /// `xml`, `xmlns` or their namespaces declared or used against Namespaces in XML §3, or `xmlns:p=""`.
    /// `not-well-formed`.
    #[error("a reserved or empty namespace declaration")]
    ReservedNamespace,
    /// An XML declaration that is not one, or of a version other than 1.0. `not-well-formed`.
    #[error("a malformed XML declaration")]
    BadDeclaration,
    /// An encoding other than UTF-8, declared or plain from the first bytes. `unsupported-encoding`.
    #[error("an encoding other than UTF-8")]
    Encoding,
    /// The bytes are not UTF-8. `unsupported-encoding` (RFC 6120 §4.9.3.22: "otherwise improperly encoded").
    #[error("bytes that are not UTF-8")]
    NotUtf8,
    /// A document type declaration. `restricted-xml` (RFC 6120 §11.1).
    #[error("a document type declaration")]
    Dtd,
    /// A comment. `restricted-xml` (RFC 6120 §11.1).
    #[error("a comment")]
    Comment,
    /// A processing instruction, or an XML declaration where none may be. `restricted-xml` (RFC 6120 §11.1).
    #[error("a processing instruction")]
    ProcessingInstruction,
    /// A reference to an entity other than the five predefined ones. `restricted-xml` (RFC 6120 §11.1).
    #[error("an entity reference")]
    Entity,
    /// More than `element_bytes_max` bytes in one element. `policy-violation`.
    #[error("the element is too big")]
    TooBig,
    /// Nested deeper than `depth_max`. `policy-violation`.
    #[error("elements are nested too deep")]
    TooDeep,
    /// More than `attributes_max` attributes on one element. `policy-violation`.
    #[error("too many attributes")]
    TooManyAttributes,
    /// An attribute value longer than `attribute_bytes_max`. `policy-violation`.
    #[error("an attribute is too long")]
    AttributeTooLong,
    /// A name longer than `name_bytes_max`. `policy-violation`.
    #[error("a name is too long")]
    NameTooLong,
    /// More than `prefixes_max` prefixes in scope. `policy-violation`.
    #[error("too many namespace prefixes")]
    TooManyPrefixes,
}
