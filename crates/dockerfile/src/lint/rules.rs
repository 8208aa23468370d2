//! The lint rules: names, descriptions and messages are BuildKit's, since users name rules in `# check=skip=` and read
//! about them at these addresses.

use crate::error::quoted;
use crate::suggest::hint;

/// A lint rule.
#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its name, as used in `# check=skip=`.
    pub name: &'static str,
    /// What it asks for.
    pub description: &'static str,
    /// Where it is explained; empty for a rule without a page.
    pub url: &'static str,
    /// Whether it runs only if asked for by name.
    pub experimental: bool,
}

/// A rule that is violated, with the particulars.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The rule.
    pub rule: &'static Rule,
    /// What is wrong in this case.
    pub message: String,
}

macro_rules! rules {
    ($($id:ident = $name:literal, $url:literal, $description:literal;)*) => {
        $(
            #[doc = concat!("`", $name, "`: ", $description)]
            pub static $id: Rule = Rule { name: $name, description: $description, url: $url, experimental: false };
        )*
    };
}

rules! {
    STAGE_NAME_CASING = "StageNameCasing",
        "https://docs.docker.com/go/dockerfile/rule/stage-name-casing/",
        "Stage names should be lowercase";
    FROM_AS_CASING = "FromAsCasing",
        "https://docs.docker.com/go/dockerfile/rule/from-as-casing/",
        "The 'as' keyword should match the case of the 'from' keyword";
    NO_EMPTY_CONTINUATION = "NoEmptyContinuation",
        "https://docs.docker.com/go/dockerfile/rule/no-empty-continuation/",
        "Empty continuation lines will become errors in a future release";
    CONSISTENT_INSTRUCTION_CASING = "ConsistentInstructionCasing",
        "https://docs.docker.com/go/dockerfile/rule/consistent-instruction-casing/",
        "All commands within the Dockerfile should use the same casing (either upper or lower)";
    DUPLICATE_STAGE_NAME = "DuplicateStageName",
        "https://docs.docker.com/go/dockerfile/rule/duplicate-stage-name/",
        "Stage names should be unique";
    RESERVED_STAGE_NAME = "ReservedStageName",
        "https://docs.docker.com/go/dockerfile/rule/reserved-stage-name/",
        "Reserved words should not be used as stage names";
    JSON_ARGS_RECOMMENDED = "JSONArgsRecommended",
        "https://docs.docker.com/go/dockerfile/rule/json-args-recommended/",
        "JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior related to OS signals";
    MAINTAINER_DEPRECATED = "MaintainerDeprecated",
        "https://docs.docker.com/go/dockerfile/rule/maintainer-deprecated/",
        "The MAINTAINER instruction is deprecated, use a label instead to define an image author";
    UNDEFINED_ARG_IN_FROM = "UndefinedArgInFrom",
        "https://docs.docker.com/go/dockerfile/rule/undefined-arg-in-from/",
        "FROM command must use declared ARGs";
    WORKDIR_RELATIVE_PATH = "WorkdirRelativePath",
        "https://docs.docker.com/go/dockerfile/rule/workdir-relative-path/",
        "Relative workdir without an absolute workdir declared within the build can have unexpected results if the base image changes";
    UNDEFINED_VAR = "UndefinedVar",
        "https://docs.docker.com/go/dockerfile/rule/undefined-var/",
        "Variables should be defined before their use";
    MULTIPLE_INSTRUCTIONS_DISALLOWED = "MultipleInstructionsDisallowed",
        "https://docs.docker.com/go/dockerfile/rule/multiple-instructions-disallowed/",
        "Multiple instructions of the same type should not be used in the same stage";
    LEGACY_KEY_VALUE_FORMAT = "LegacyKeyValueFormat",
        "https://docs.docker.com/go/dockerfile/rule/legacy-key-value-format/",
        "Legacy key/value format with whitespace separator should not be used";
    INVALID_BASE_IMAGE_PLATFORM = "InvalidBaseImagePlatform",
        "",
        "Base image platform does not match expected target platform";
    REDUNDANT_TARGET_PLATFORM = "RedundantTargetPlatform",
        "https://docs.docker.com/go/dockerfile/rule/redundant-target-platform/",
        "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior";
    SECRETS_USED_IN_ARG_OR_ENV = "SecretsUsedInArgOrEnv",
        "https://docs.docker.com/go/dockerfile/rule/secrets-used-in-arg-or-env/",
        "Sensitive data should not be used in the ARG or ENV commands";
    INVALID_DEFAULT_ARG_IN_FROM = "InvalidDefaultArgInFrom",
        "https://docs.docker.com/go/dockerfile/rule/invalid-default-arg-in-from/",
        "Default value for global ARG results in an empty or invalid base image name";
    FROM_PLATFORM_FLAG_CONST_DISALLOWED = "FromPlatformFlagConstDisallowed",
        "https://docs.docker.com/go/dockerfile/rule/from-platform-flag-const-disallowed/",
        "FROM --platform flag should not use a constant value";
    COPY_IGNORED_FILE = "CopyIgnoredFile",
        "https://docs.docker.com/go/dockerfile/rule/copy-ignored-file/",
        "Attempting to Copy file that is excluded by .dockerignore";
    EXPOSE_PROTO_CASING = "ExposeProtoCasing",
        "https://docs.docker.com/go/dockerfile/rule/expose-proto-casing/",
        "Protocol in EXPOSE instruction should be lowercase";
    EXPOSE_INVALID_FORMAT = "ExposeInvalidFormat",
        "https://docs.docker.com/go/dockerfile/rule/expose-invalid-format/",
        "IP address and host-port mapping should not be used in EXPOSE instruction. This will become an error in a future release";
}

/// `InvalidDefinitionDescription`: comments above stages and arguments describe them. Experimental.
pub static INVALID_DEFINITION_DESCRIPTION: Rule = Rule {
    name: "InvalidDefinitionDescription",
    description: "Comment for build stage or argument should follow the format: `# <arg/stage name> <description>`. \
                  If this is not intended to be a description comment, add an empty line or comment between the \
                  instruction and the comment.",
    url: "https://docs.docker.com/go/dockerfile/rule/invalid-definition-description/",
    experimental: true,
};

/// All rules.
pub static ALL: [&Rule; 22] = [
    &STAGE_NAME_CASING,
    &FROM_AS_CASING,
    &NO_EMPTY_CONTINUATION,
    &CONSISTENT_INSTRUCTION_CASING,
    &DUPLICATE_STAGE_NAME,
    &RESERVED_STAGE_NAME,
    &JSON_ARGS_RECOMMENDED,
    &MAINTAINER_DEPRECATED,
    &UNDEFINED_ARG_IN_FROM,
    &WORKDIR_RELATIVE_PATH,
    &UNDEFINED_VAR,
    &MULTIPLE_INSTRUCTIONS_DISALLOWED,
    &LEGACY_KEY_VALUE_FORMAT,
    &INVALID_BASE_IMAGE_PLATFORM,
    &REDUNDANT_TARGET_PLATFORM,
    &SECRETS_USED_IN_ARG_OR_ENV,
    &INVALID_DEFAULT_ARG_IN_FROM,
    &FROM_PLATFORM_FLAG_CONST_DISALLOWED,
    &COPY_IGNORED_FILE,
    &INVALID_DEFINITION_DESCRIPTION,
    &EXPOSE_PROTO_CASING,
    &EXPOSE_INVALID_FORMAT,
];

impl Rule {
    fn found(&'static self, message: String) -> Finding {
        Finding {
            rule: self,
            message,
        }
    }
}

/// The stage's name, as written, has capitals.
pub fn stage_name_casing(name: &str) -> Finding {
    STAGE_NAME_CASING.found(format!("Stage name '{name}' should be lowercase"))
}

/// `from` and `as`, as written, differ in casing.
pub fn from_as_casing(from: &str, as_: &str) -> Finding {
    FROM_AS_CASING.found(format!(
        "'{as_}' and '{from}' keywords' casing do not match"
    ))
}

/// An instruction goes on over an empty line.
pub fn no_empty_continuation() -> Finding {
    NO_EMPTY_CONTINUATION.found("Empty continuation line".to_owned())
}

/// A keyword is not in `casing` (`lowercase`, `uppercase`) like most.
pub fn consistent_instruction_casing(keyword: &str, casing: &str) -> Finding {
    CONSISTENT_INSTRUCTION_CASING.found(format!(
        "Command '{keyword}' should match the case of the command majority ({casing})"
    ))
}

/// Two stages have the same name.
pub fn duplicate_stage_name(name: &str) -> Finding {
    DUPLICATE_STAGE_NAME.found(format!(
        "Duplicate stage name {}, stage names should be unique",
        quoted(name)
    ))
}

/// A stage is called `scratch` or `context`.
pub fn reserved_stage_name(name: &str) -> Finding {
    RESERVED_STAGE_NAME.found(format!(
        "Stage name should not use the same name as reserved stage {}",
        quoted(name)
    ))
}

/// `CMD` or `ENTRYPOINT`, as written, is in shell form and no shell has been chosen.
pub fn json_args_recommended(keyword: &str) -> Finding {
    JSON_ARGS_RECOMMENDED.found(format!(
        "JSON arguments recommended for {keyword} to prevent unintended behavior related to OS signals"
    ))
}

/// There is a `MAINTAINER` instruction.
pub fn maintainer_deprecated() -> Finding {
    MAINTAINER_DEPRECATED
        .found("Maintainer instruction is deprecated in favor of using label".to_owned())
}

/// `FROM` uses a variable that no `ARG` before the first stage declares.
pub fn undefined_arg_in_from(name: &str, suggestion: Option<&str>) -> Finding {
    UNDEFINED_ARG_IN_FROM.found(format!(
        "FROM argument '{name}' is not declared{}",
        hint(suggestion)
    ))
}

/// The first `WORKDIR` of a stage is relative.
pub fn workdir_relative_path(path: &str) -> Finding {
    WORKDIR_RELATIVE_PATH.found(format!(
        "Relative workdir {} can have unexpected results if the base image changes",
        quoted(path)
    ))
}

/// A variable is used that is not set; `suggestion` is a variable's name.
pub fn undefined_var(name: &str, suggestion: Option<&str>) -> Finding {
    let suggestion = suggestion.map(|name| format!("${name}"));
    UNDEFINED_VAR.found(format!(
        "Usage of undefined variable '${name}'{}",
        hint(suggestion.as_deref())
    ))
}

/// `CMD`, `ENTRYPOINT` or `HEALTHCHECK`, as written, stands twice in a stage. Located at the one that is overridden.
pub fn multiple_instructions_disallowed(keyword: &str) -> Finding {
    MULTIPLE_INSTRUCTIONS_DISALLOWED.found(format!(
        "Multiple {keyword} instructions should not be used in the same stage because only the last one will be used"
    ))
}

/// `ENV` or `LABEL`, as written, is in the old form.
pub fn legacy_key_value_format(keyword: &str) -> Finding {
    LEGACY_KEY_VALUE_FORMAT.found(format!(
        "\"{keyword} key=value\" should be used instead of legacy \"{keyword} key value\" format"
    ))
}

/// A base image has another platform than asked for.
pub fn invalid_base_image_platform(image: &str, expected: &str, actual: &str) -> Finding {
    INVALID_BASE_IMAGE_PLATFORM.found(format!(
        "Base image {image} was pulled with platform {}, expected {} for current build",
        quoted(actual),
        quoted(expected)
    ))
}

/// `FROM --platform=$TARGETPLATFORM`, with the flag's value as written.
pub fn redundant_target_platform(platform: &str) -> Finding {
    REDUNDANT_TARGET_PLATFORM.found(format!(
        "Setting platform to predefined {platform} in FROM is redundant as this is the default behavior"
    ))
}

/// `ARG` or `ENV` has a name that speaks of a secret.
pub fn secrets_used_in_arg_or_env(instruction: &str, name: &str) -> Finding {
    SECRETS_USED_IN_ARG_OR_ENV.found(format!(
        "Do not use ARG or ENV instructions for sensitive data ({instruction} {})",
        quoted(name)
    ))
}

/// `FROM` with all arguments at their defaults names no image.
pub fn invalid_default_arg_in_from(base: &str) -> Finding {
    INVALID_DEFAULT_ARG_IN_FROM.found(format!(
        "Default value for ARG {base} results in empty or invalid base image name"
    ))
}

/// `FROM --platform=` with a value that does not depend on anything.
pub fn from_platform_flag_const_disallowed(platform: &str) -> Finding {
    FROM_PLATFORM_FLAG_CONST_DISALLOWED.found(format!(
        "FROM --platform flag should not use constant value {}",
        quoted(platform)
    ))
}

/// A source of `verb` (`Copy`, `Add`) is excluded from the context.
pub fn copy_ignored_file(verb: &str, path: &str) -> Finding {
    COPY_IGNORED_FILE.found(format!(
        "Attempting to {verb} file {} that is excluded by .dockerignore",
        quoted(path)
    ))
}

/// A comment above `FROM` or `ARG` that could be a description does not start with `name`.
pub fn invalid_definition_description(instruction: &str, name: &str) -> Finding {
    INVALID_DEFINITION_DESCRIPTION.found(format!(
        "Comment for {instruction} should follow the format: `# {name} <description>`"
    ))
}

/// The protocol in a word of `EXPOSE` has capitals.
pub fn expose_proto_casing(port: &str) -> Finding {
    EXPOSE_PROTO_CASING.found(format!(
        "Defined protocol '{port}' in EXPOSE instruction should be lowercase"
    ))
}

/// A word of `EXPOSE` has an address or a host port.
pub fn expose_invalid_format(port: &str) -> Finding {
    EXPOSE_INVALID_FORMAT.found(format!(
        "EXPOSE instruction should not define an IP address or host-port mapping, found '{port}'"
    ))
}
