#!/usr/bin/env escript
%%! +sbwt none +sbwtdcpu none +sbwtdio none
%% Erlang's ssh, with schedulers that sleep when idle. Arguments: PORT DIRECTORY.

-mode(compile).

main([Port, Bench]) ->
    {ok, _} = application:ensure_all_started(ssh),
    {ok, Message} = file:read_file(Bench ++ "/message"),
    {ok, Password} = file:read_file(Bench ++ "/password"),
    {ok, _} = ssh:daemon({127, 0, 0, 1}, list_to_integer(Port), [
        {system_dir, Bench},
        {user_dir, Bench},
        {user_passwords, [{"guest", string:trim(binary_to_list(Password))}]},
        {shell, fun(_User) -> spawn(fun() -> io:put_chars(Message) end) end},
        {parallel_login, true},
        {backlog, 128}
    ]),
    receive after infinity -> ok end.
