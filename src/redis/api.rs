//! The raw module API: function pointers that the server fills in at load.

use redis_module::raw;
use std::ffi::{CStr, c_int, c_void};
use std::ptr::NonNull;

/// Calls `RedisModule_<name>`, one of those that are needed: what only newer servers have is asked for where
/// it is used.
macro_rules! api {
    ($name:ident($($arg:expr),* $(,)?)) => {{
        let () = $crate::redis::api::needed::$name;
        match ::redis_module::raw::$name {
            Some(function) => function($($arg),*),
            None => $crate::redis::api::missing(stringify!($name)),
        }
    }};
}

pub(crate) use api;

/// The address of a function that only some servers have. Ask by the name that Valkey gives its own: functions
/// that both have may take other arguments there (ACLCheckKeyPrefixPermissions does).
pub fn of_valkey(name: &CStr) -> Option<NonNull<c_void>> {
    let mut function: *mut c_void = std::ptr::null_mut();
    // SAFETY: filled in when the module is loaded; the server writes an address where it is told to.
    let status = unsafe {
        let get = raw::RedisModule_GetApi?;
        get(name.as_ptr(), (&raw mut function).cast())
    };
    NonNull::new(function).filter(|_| status == raw::REDISMODULE_OK as c_int)
}

/// Valkey, of 8.0 or later: 7.2 has no names of its own.
pub fn is_valkey() -> bool {
    of_valkey(c"ValkeyModule_SetModuleOptions").is_some()
}

macro_rules! needed {
    ($($name:ident)*) => {
        /// A constant for each, so that nothing is called that is not in the list.
        #[allow(non_upper_case_globals, dead_code, reason = "the crate calls some, unit tests call few")]
        pub mod needed {
            $(pub const $name: () = ();)*
        }

        /// The first that this server does not have. All are there since Redis 7.0.
        pub fn first_missing() -> Option<&'static str> {
            $(
                // SAFETY: filled in before the module does anything, and never changed.
                if unsafe { ::redis_module::raw::$name }.is_none() {
                    return Some(stringify!($name));
                }
            )*
            None
        }
    };
}

needed! {
    // The crate calls these itself.
    RedisModule_CreateDataType
    RedisModule_CreateString
    RedisModule_FreeString
    RedisModule_IsIOError
    RedisModule_LoadStringBuffer
    RedisModule_LoadUnsigned
    RedisModule_RetainString
    RedisModule_HoldString
    RedisModule_SaveStringBuffer
    RedisModule_SaveUnsigned
    RedisModule_SetModuleOptions
    RedisModule_StringPtrLen
    // And the module these.
    RedisModule_ACLAddLogEntry
    RedisModule_ACLCheckCommandPermissions
    RedisModule_ACLCheckKeyPermissions
    RedisModule_Alloc
    RedisModule_AvoidReplicaTraffic
    RedisModule_BlockClientOnKeys
    RedisModule_Call
    RedisModule_CallReplyArrayElement
    RedisModule_CallReplyInteger
    RedisModule_CallReplyLength
    RedisModule_CallReplyStringPtr
    RedisModule_CallReplyType
    RedisModule_CloseKey
    RedisModule_CreateCommand
    RedisModule_CreateTimer
    RedisModule_DeleteKey
    RedisModule_DigestAddStringBuffer
    RedisModule_DigestEndSequence
    RedisModule_EmitAOF
    RedisModule_EventLoopAddOneShot
    RedisModule_Free
    RedisModule_FreeCallReply
    RedisModule_FreeModuleUser
    RedisModule_FreeServerInfo
    RedisModule_FreeThreadSafeContext
    RedisModule_GetBlockedClientPrivateData
    RedisModule_GetCommand
    RedisModule_GetContextFlags
    RedisModule_GetCurrentUserName
    RedisModule_GetExpire
    RedisModule_GetKeyNameFromModuleKey
    RedisModule_GetModuleUserFromUserName
    RedisModule_GetRandomBytes
    RedisModule_GetSelectedDb
    RedisModule_GetServerInfo
    RedisModule_GetServerVersion
    RedisModule_GetThreadSafeContext
    RedisModule_HashGet
    RedisModule_HashSet
    RedisModule_InfoAddFieldULongLong
    RedisModule_InfoAddSection
    RedisModule_IsKeysPositionRequest
    RedisModule_IsSubEventSupported
    RedisModule_KeyAtPosWithFlags
    RedisModule_KeyType
    RedisModule_LatencyAddSample
    RedisModule_LoadConfigs
    RedisModule_Log
    RedisModule_Milliseconds
    RedisModule_ModuleTypeGetType
    RedisModule_ModuleTypeGetValue
    RedisModule_ModuleTypeSetValue
    RedisModule_NotifyKeyspaceEvent
    RedisModule_OpenKey
    RedisModule_Realloc
    RedisModule_RegisterInfoFunc
    RedisModule_RegisterNumericConfig
    RedisModule_Replicate
    RedisModule_ReplySetArrayLength
    RedisModule_ReplySetMapLength
    RedisModule_ReplyWithArray
    RedisModule_ReplyWithBool
    RedisModule_ReplyWithCallReply
    RedisModule_ReplyWithDouble
    RedisModule_ReplyWithError
    RedisModule_ReplyWithLongLong
    RedisModule_ReplyWithMap
    RedisModule_ReplyWithNull
    RedisModule_ReplyWithSimpleString
    RedisModule_ReplyWithStringBuffer
    RedisModule_ScanCursorCreate
    RedisModule_ScanCursorRestart
    RedisModule_ScanKey
    RedisModule_SelectDb
    RedisModule_ServerInfoGetFieldC
    RedisModule_SetAbsExpire
    RedisModule_SetCommandInfo
    RedisModule_SetDisconnectCallback
    RedisModule_SetExpire
    RedisModule_SignalKeyAsReady
    RedisModule_SignalModifiedKey
    RedisModule_StopTimer
    RedisModule_StreamAdd
    RedisModule_StreamDelete
    RedisModule_StreamIteratorNextField
    RedisModule_StreamIteratorNextID
    RedisModule_StreamIteratorStart
    RedisModule_StreamIteratorStop
    RedisModule_StreamTrimByID
    RedisModule_StreamTrimByLength
    RedisModule_SubscribeToKeyspaceEvents
    RedisModule_SubscribeToServerEvent
    RedisModule_UnblockClient
    RedisModule_ValueLength
}

/// Not a panic, and never met: a server that lacks something is refused before anything of it is called.
#[cold]
pub fn missing(name: &str) -> ! {
    eprintln!("dirty: this server has no {name}, which Redis 7.0 has");
    std::process::abort()
}
