//! The error codes of sign-ins of parties.

kernel::error_codes! {
    SIGN_IN_REFUSED = "sign_in_refused", 401, "The sign-in token is not good",
        "The token was not made by this server, was changed on its way, or none came. Send the whole of encrypted_caller_id or encrypted_receiver_id, as acc_tok.";
    SIGN_IN_OVER = "sign_in_over", 410, "The sign-in token is not good any more",
        "The token has expired, was revoked, was a link for one use, or its meeting was cancelled. The application posts the meeting again, or asks for a link.";
    ANOTHER_PARTY = "another_party", 409, "This browser is signed in as somebody else now",
        "The page was made for another party than the one that the browser is signed in as now. Nothing was changed. Open the own link again.";
}
