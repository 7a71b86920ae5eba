# akm 对人说的话，简体中文。id 与变量同 en.ftl。
#
# 术语（与 DESIGN 的用词一一对应，全文一致）：
#   vault 保险库 · account 账户 · passphrase 口令 · root key 根密钥 · wrap/unwrap 包裹/解包 · seal/open 封存/打开
#   agent 不译（“代理”一词留给 proxy） · unlock/lock 解锁/锁定 · lifetime 有效时长 · session 会话 · caller 调用方 · grant 授权
#   key 密钥（一条记录） · secret 密钥值（它的明文） · use-only 仅供使用 · rotate 轮换 · burned 已泄露 · preview 预览
#   provider 服务商 · model 模型 · category 分类 · status 状态 · balance 余额 · destination 目标地址 · connection test 连接测试
#   authenticator 验证器 · code 验证码 · recovery code 恢复码 · audit 审计 · event 事件 · journal 审计日志 · chain 链
#   tier 套餐 · order 订单 · clipboard 剪贴板 · flag 选项 · environment variable 环境变量 · keyfile 密钥文件 · backup 备份
#
# 写法：中文与西文、数字之间空一格；句末不加句号；命令、选项、变量名保留原文。

## 控制台

ui-opened = 控制台正在浏览器中打开；如果没有打开：
ui-link = 链接仅可使用一次，{ $seconds } 秒内有效，且只限本用户的程序

## 框架

error = 错误：{ $message }
error-of-field = 错误：{ $field }：{ $message }
hint = 提示：{ $step }
yes = 是
no = 否

## 下一步

hint-wait = 请等待 { $seconds } 秒后重试
hint-no-agent = 请运行 akm unlock；新机器请先运行 akm init
hint-unlock = 请运行 akm unlock
hint-init = 请运行 akm init
hint-path = 请检查路径及其所在磁盘的空间
hint-credentials = 请检查账户、口令和验证码后重试
hint-corrupt = 请运行 akm doctor；akm backup list 会列出可恢复的备份
hint-vault-damaged = 请运行 akm backup list，再运行 akm backup restore NAME --replace：损坏的文件会保留在保险库旁边
vault-damaged = 保险库文件已损坏，无法打开
hint-version = 请使用写入该保险库的 akm 版本或更新的版本
hint-again = 请重试；如仍失败，运行 akm doctor
hint-doctor = 运行 akm doctor 查看 akm 使用的文件

## 会话：unlock、lock、status

ask-passphrase = 口令：
ask-code = 验证器上的验证码：
code-needed = 该账户还需要验证码
unlocked = { $account } 已解锁
unlocked-until = { $account } 已解锁，{ $time } 前有效
locked = 已锁定
no-account-yet = 尚无账户
init-elsewhere = 警告：本机曾见过另一个保险库的 { $known } 个账户；如果它原本就在这里，akm backup list 会列出可恢复的备份
vault-first-use = 注意：本机第一次见到这个保险库；如果它是一份旧副本，此时无法察觉
vault-restored = 注意：已恢复备份；从现在起以它为最新
vault-rollback-accepted = 警告：已接受较旧或被改动过的保险库；轮换过的密钥可能是旧值，删除过的密钥可能重新出现
field-state = 状态
field-agent = agent
field-vault = 保险库
field-code-asked = 需要验证码

## 导出与导入：export、import

ask-file-passphrase = 文件的口令：
export-json-needs-file = 使用 --json 时，导出须写入文件
export-not-to-terminal = 加密文件不输出到终端
exported-sealed = 已导出 { $count } 个密钥（已加密）
exported-in-clear = 已导出 { $count } 个密钥（明文）
export-policy-asks = 当前策略未对此程序开放：请先输入账户的口令，再输入文件的口令
export-left-use-only = 未导出（仅供使用）：{ $names }
export-left-confirm = 未导出（每次取用须经确认，--confirm）：{ $names }
export-left-burned = 未导出（已泄露）：{ $names }
export-unreadable = 无法打开，未导出：{ $names }
export-left-out = 未导出：{ $names }
hint-left-out = 可用 --use-only 加密导出，需要账户的口令
imported = 已保存 { $count } 个密钥
import-would = 将保存 { $count } 个密钥
import-ignored = 文件中有 { $count } 项不是密钥，已略过
import-refused = { $count } 个密钥无法保存，因此一个也没有保存
hint-import-refused = 请修正文件，或用 --skip-existing 保留已有密钥
field-checksum = 校验和
handover-code = 仅可用于一次移交，有效期至 { $date } 或本会话锁定时
hint-handover-code = 在另一台服务器上运行 akm account send CODE -o FILE，然后在这里运行 akm account receive FILE
handover-left-out = 未移交（已泄露）：{ $names }
hint-handover-sent = 只有生成该代码的会话能打开此文件：请带到那里运行 akm account receive FILE
handover-received = 已保存 { $count } 个密钥，{ $unchanged } 个原已存在
handover-differing = 原已存在且属性与发送的不同：{ $names }
hint-handover-refused = 请在任一端重命名或删除这些密钥；代码有效期内可重新发送和接收
hint-handover-compare = 删除原处的密钥之前，请与 akm account send 显示的数量和校验和核对
hint-import-in-clear = 该文件仍含明文密钥值，请将其删除
import-stdin-twice = 标准输入不能同时是文件和口令
import-added = 新增
import-unchanged = 未变
import-skipped = 跳过
import-conflict = 冲突
import-invalid = 无效
col-import-outcome = 结果
col-import-detail = 原因
## 备份

backup-made = 备份已完成并通过验证，{ $size }；其中 { $decrypted } 个密钥已解密
backup-made-structure = 备份已完成，结构已验证，{ $size }；保险库锁定时不解密任何内容
backup-removed = 已删除 { $name }
backup-directory = 位于 { $directory }
backup-decrypted = 完整，已试解密其中 { $decrypted } 个密钥：{ $accounts } 个账户，{ $keys } 个密钥
backup-structure = 结构已验证，未解密任何内容：{ $accounts } 个账户，{ $keys } 个密钥
ask-backup-passphrase = 备份当时的口令：
backup-restored = 已恢复：{ $accounts } 个账户，{ $keys } 个密钥
backup-kept = 原保险库已保留在旁边，文件名 { $name }
hint-after-restore = 请运行 akm unlock，再运行 akm totp codes：此前的恢复码已失效
backup-no-schedule = 没有定时备份
backup-schedule = agent 运行时每天备份一次；保留 { $keep } 份
backup-schedule-days = agent 运行时每天备份一次；保留 { $keep } 份，最长 { $days } 天
col-made = 时间
col-size = 大小
col-vault = 保险库
vault-this = 当前
vault-other = 其他
hint-backup-create = 请运行 akm backup create
hint-backup-schedule = 运行 akm backup schedule --daily 可每天自动备份
hint-backup-unlock = 先运行 akm unlock，即可同时解密其中的密钥
## 密钥文件

keyfile-enabled = 从现在起，该账户只能与 { $path } 一起打开
keyfile-disabled = 从现在起，仅凭口令即可打开该账户
hint-keyfile-copy = 请另存一份该文件：没有它，只有恢复码能打开账户；旧的保险库副本仍无需它即可打开
hint-keyfile-stays = 文件保留原处：此前的备份仍需要它
field-keyfile-needed = 需要密钥文件
field-kept-in = 保存于
## 账户：init、account、totp

ask-new-passphrase = 新口令：
ask-current-passphrase = 当前口令：
ask-again = 再输入一次：
ask-recovery-code = 恢复码：
ask-first-code = 验证器上的验证码（留空则稍后再说）：
account-created = 账户 { $account } 已创建并解锁
passphrase-changed = 口令已更改
recovered = { $account } 已设置新口令并解锁；还剩 { $codes } 个恢复码
recovery-codes = 恢复码：每个可代替口令使用一次。请保存在本机以外的地方。
totp-secret = TOTP 密钥：
totp-uri = TOTP URI：
totp-on = 此后解锁需要验证码
totp-off = 此后解锁不再需要验证码
totp-pending = TOTP 待确认：目前解锁还不需要验证码
totp-confirmed = TOTP 已确认：此后解锁需要验证码
hint-confirm-later = 验证器显示验证码后，运行 akm totp confirm CODE

## agent

agent-runs = agent 正在运行（pid { $pid }）
agent-stopped = agent 已停止（pid { $pid }）

## 密钥

ask-secret = 密钥值：
ask-secret-of = { $name } 的密钥值：
ask-new-secret = 新的密钥值：
ask-remove = 删除 { $name } 及其历史版本？[y/N]{" "}
nothing-removed = 未删除任何内容
changed-stored = { $name }（{ $preview }）已存入
changed-edited = { $name }（{ $preview }）已修改
changed-renamed = 已改名为 { $name }（{ $preview }）
changed-removed = { $name }（{ $preview }）已删除
changed-disabled = { $name }（{ $preview }）已停用
changed-enabled = { $name }（{ $preview }）已启用
changed-rotated = { $name }（{ $preview }）已换成新的密钥值
current = 当前
list-unreadable = { $count } 个密钥无法打开，未列出：{ $ids }
no-keys = 没有密钥
no-events = 没有事件
use-only = 仅供使用
field-name = 名称
field-status = 状态
field-secret = 密钥值
field-version = 版本
field-model = 模型
field-categories = 分类
field-variable = 环境变量
field-use-only = 仅供使用
field-confirm = 每次询问
field-address = 地址
field-hosts = 只发送到
field-created = 创建时间
field-changed = 修改时间
field-last-used = 最近使用
field-expires = 到期时间
field-notes = 备注
col-name = 名称
col-version = 版本
col-secret = 密钥值
col-stored = 存入时间
col-replaced = 替换时间
col-status = 状态
col-model = 模型
col-categories = 分类
col-expires = 到期时间
col-last-used = 最近使用

## 日志

col-chain = 链
col-seq = 序号
col-time = 时间
col-action = 操作
col-account = 账户
col-key = 密钥
col-outcome = 结果
col-caller = 调用方
caller = { $exe }（pid { $pid }，uid { $uid }）
log-whole = 共 { $events } 个事件，全部真实且顺序正确
log-bad-event = { $chain }链的第 { $event } 个事件与写入时不符
log-bad-chain = { $chain }链与写入时不符
hint-log-bad = 保险库或其日志被 akm 以外的程序改动：请与备份比对
hint-log-more = 还有更多：akm log --after { $cursor }
checkpoint-holds = { $time } 检查点中的事件全部都在
checkpoint-truncated = { $time } 检查点时已有的事件现已缺失
checkpoint-forked = 日志与 { $time } 检查点时的不是同一份
checkpoint-unknown = 无法判断 { $time } 的检查点是否成立：日志在此之前已损坏
since-forms = 请写成 2026-01-31、RFC 3339 时间、30m、8h 或 7d

## 连接测试

col-took = 用时
col-models = 模型数
col-detail = 说明
testing = 正在测试

## 口令与密钥值的来源

no-terminal-for-passphrase = 需要口令，但没有可供输入的终端
hint-passphrase-flags = 请使用 --passphrase-stdin 或 --passphrase-fd N，或将 AKM_ASKPASS 设为询问口令的程序
no-terminal-for-secret = 需要密钥值，但没有可供输入的终端
hint-secret-stdin = 请使用 --secret-stdin，并以一行给出密钥值
bad-descriptor = 无法读取 --passphrase-fd 指定的描述符

## 用法

usage-unknown-flag = 未知选项 { $flag }
usage-too-many = 参数过多
usage-no-command = 没有这个命令
usage-value-missing = { $flag } 缺少取值
usage-bad-value = { $flag } 的取值无效
usage-bad-value-because = { $flag } 的取值无效：{ $reason }
usage-not-a-number = 不是数字
usage-number-too-large = 数字过大
usage-nothing-named = 未指定要做什么
usage-missing = 缺少 { $what }
usage-something-missing = 缺少参数
usage-exclude = { $flag } 与 { $other } 不能同时使用
usage-once = 只能使用一次：{ $flag }
usage-count = { $flag } 的取值个数不对
usage-not-utf8 = 有参数不是 UTF-8
usage-unclear = 无法理解该命令行
hint-one-of = 可选：{ $values }
hint-did-you-mean = 是不是想用 { $similar }？

## 体检

col-what = 项目
col-found = 结果
hint-of = { $what }：{ $step }
doctor-ok = 正常
doctor-bad = 异常
doctor-absent = { $path }，尚不存在
doctor-unreadable = { $path }，无法查看：{ $error }
doctor-file = { $path }，权限 { $mode }，uid { $uid }，{ $size } 字节
doctor-symlink = { $path }，是符号链接
doctor-linked = { $path } 另有一个名称：硬链接
doctor-no-socket = { $path }，不是套接字
doctor-not-running = 未运行
doctor-answers = { $time } 内应答
doctor-version = { $agent }，当前程序为 { $this }
doctor-clock-behind = { $now }，保险库的写入时间比它晚 { $seconds } 秒
doctor-keys = 已检查 { $seen } 个，均为最后写入的版本
doctor-keys-bad = 已检查 { $seen } 个；缺失 { $missing } 个，比最后写入的旧 { $older } 个，并非由 akm 写入 { $foreign } 个，已损坏 { $unreadable } 个
doctor-keys-broken = 保险库自身的密钥记录已损坏或不是最新的
hint-rolled-back = 请恢复较新的备份，或用 akm unlock --accept-rollback 接受现状
doctor-accounts-missing = 本机见过而保险库中缺失的有 { $missing } 个
hint-accounts-missing = 请用 akm backup restore 恢复备份；若要重新开始，请先移走保险库文件
hint-missing = 保险库中缺少账户：请运行 akm doctor
hint-damaged = 有密钥缺失或比原来旧：请运行 akm doctor
doctor-boot = { $seconds } 秒，其中休眠 { $suspended } 秒
doctor-no-boot-clock = 没有计入休眠时间的时钟
doctor-reach = 旁边的程序：ptrace { $ptrace }，内存{ $memory }，环境变量{ $environ }
doctor-allowed = 可行
doctor-refused = 被拒绝
doctor-no-core = agent 异常中止时不留下转储；系统的转储模式为 { $pattern }
doctor-core = agent 异常中止时留下转储，模式为 { $pattern }
doctor-no-swap = 无
doctor-swap = 位于 { $places }
doctor-locked = 最多可锁定 { $limit }
doctor-locked-agent = agent 已锁定 { $held } KiB，最多可锁定 { $limit }
doctor-agent-user = { $name }，uid { $uid }
doctor-open-to-all = 任何人都可以尝试
doctor-open-to-group = { $group } 组的成员
doctor-open-to-owner = 仅 uid { $uid }
doctor-calls-agent = agent 从不需要的系统调用均被拒绝
doctor-calls = 在此系统上，agent 从不需要的系统调用会被拒绝
doctor-calls-not = 运行中的 agent 可以使用所有系统调用
doctor-no-calls = 此内核不支持过滤器
doctor-files = 与服务商通信的线程不能写任何文件
doctor-files-part = 与服务商通信的线程只受部分限制：内核较旧
doctor-no-files = 此内核没有 Landlock
doctor-no-privileges = agent 没有特权，也无法取得
doctor-privileges = agent 拥有 root 的特权
doctor-new-privileges = agent 可以取得新的特权
doctor-kernel = { $release }，可以确定调用者
doctor-kernel-old = { $release }，查询时调用者的进程号可能已属于他人
hint-reach-root = root 可以查看一切：请以普通用户运行
hint-reach-plain = 您启动的程序及交给它的密钥可被您的其他程序读取；sysctl kernel.yama.ptrace_scope=1 可加强防护
hint-reach-agent = 此系统允许您的程序读取 agent：请让它以独立用户运行，见 akm doctor --setup-system
hint-core = 虽然限制为 0，系统仍保存转储文件
hint-swap = 传递中的密钥值不在锁定的内存中：请加密交换区，或使用 zram
hint-locked = 密钥可能进入交换区：请将 ulimit -l 提高到 8192
hint-agent-user = 您的程序可以像您一样向它索取密钥；akm doctor --setup-system 可让它以独立用户运行
hint-agent-other-user = 它看不到是哪个程序在请求，因此授权对谁都无效：在 ask 和 granted 策略下不会给出任何密钥
hint-no-calls = 需要 Linux 3.17 或更高版本，支持 seccomp，x86-64、aarch64 或 riscv64
hint-no-files = 需要 Linux 6.12 或更高版本，并在启动参数 lsm= 中包含 landlock
hint-privileges = 请以普通用户而非 root 运行
hint-kernel-old = 需要 Linux 6.5 或更高版本
hint-mode-directory = 执行 chmod 0700，并检查是否有他人放入的文件
hint-mode-file = 执行 chmod 0600：目前其他用户可读或可写
hint-directories-above = 请检查其上级目录
hint-symlink = akm 不会跟随指向其文件的符号链接
hint-linked = 请删除另一个名称，或复制该文件并以副本替换它
hint-other-user = 它属于其他用户
hint-no-socket = agent 的监听位置被其他文件占用
hint-unlock-starts = akm unlock 会启动它
hint-agent-again = 先运行 akm agent stop，再运行 akm unlock
hint-agent-version = 先运行 akm agent stop，再用 akm unlock 启动当前版本
hint-other-vault = agent 打开的保险库与当前环境指定的不同
hint-clock = 请校准系统时间：验证码依赖它
hint-no-boot-clock = 在此系统上，有效时长会立即结束

## 剪贴板

copied = { $name } 已复制到剪贴板，{ $seconds } 秒后清除
copied-to-terminal = { $name } 已交给终端的剪贴板
hint-copied-to-terminal = akm 无法清除终端的剪贴板：粘贴后请复制其他内容
no-clipboard = 没有显示环境，标准输出也不是带剪贴板的终端
hint-no-clipboard = 请在终端中运行 akm copy，或使用 akm get

## 演示

demo-intro = akm demo：存入一个密钥，再由各种程序取用。一切都在临时目录中进行。
demo-done = { $steps } 个步骤全部如其所述，跳过 { $skipped } 个。临时目录及其 agent 已清除。
demo-left-behind = 有残留：{ $what }
demo-gone = 临时目录及其 agent 已清除
demo-interrupted = 已中断
demo-failed = 失败：{ $why }
demo-skipped = 跳过：{ $why }
demo-more = … 另有 { $count } 行
demo-no-server = 无法在本机回环地址上启动服务器：{ $error }
demo-no-stage = 演示无法开始：{ $error }
demo-init = 创建保险库、启动 agent，并设置验证器
demo-init-done = { $codes } 个恢复码，TOTP 密钥 { $secret }，已用由它算出的验证码 { $code } 确认
demo-no-totp = akm init 没有输出 TOTP 密钥
demo-no-codes = akm init 没有输出恢复码
demo-bad-totp = TOTP 密钥无效
demo-add = 存入一个密钥
demo-add-others = 再存入一个会被服务商拒绝的，和一个请求过频的
demo-printed = { $command } 输出了密钥值
demo-list = 保险库中的内容
demo-list-wrong = akm ls 显示了 { $keys } 个密钥
demo-test = 向服务商测试每个密钥
demo-verdict = { $name } 的结果应为：{ $verdict }
demo-few-requests = 服务器只收到 { $count } 个请求
demo-tested = 符合预期；服务商共应答 { $count } 个请求
demo-lock = 锁定 agent，它忘掉全部密钥
demo-unlock = 用口令和验证码再次解锁，以查看日志
demo-log = 谁请求了什么
demo-log-gets = { $fetched } 个程序取得了密钥，日志却只记录了 { $known } 个
demo-log-lacks = 日志中没有 { $action }
demo-log-done = { $count } 次取用全部在列
demo-verify = 日志未被改动、移动或删除
demo-stop = 停止 agent
demo-ended = { $what } 的退出码是 { $code }，应为 { $wanted }
demo-building = 首次需要一两分钟……
demo-by-akm = 命令行
demo-by-rust = Rust 程序
demo-by-python = Python 程序
demo-by-node = Node 程序
demo-build-c = 编译 C 库
demo-build-rust = 编译 Rust 示例
demo-build-node = 为 Node 安装用于调用 C 库的 koffi
demo-registry = 如尚未安装，则从软件包仓库下载……
demo-koffi-there = koffi 已安装
demo-koffi-installed = koffi 安装完成
demo-build-failed = { $what } 失败：
demo-built-else = cargo 的编译产物不符
demo-no-checkout = 不在 akm 的源码目录中
demo-no-file = 源码目录中没有 { $path }
demo-no-tool = 未安装 { $name }
demo-fetch = 取用密钥：{ $who }
demo-fetched = { $preview }，正是存入的密钥
demo-refuse = 锁定后被拒绝：{ $who }
demo-http = agent 的应答为 HTTP { $status }
demo-other-key = 取得的不是存入的密钥
demo-came-out = 锁定的 agent 交出了密钥
demo-stdout = 标准输出中有内容
demo-exit-3 = 退出码 3：{ $said }
demo-cannot-run = 无法运行 { $program }：{ $error }
demo-silent = 程序没有应答
demo-endless = 程序没有及时结束
demo-home-stays = 临时目录仍然存在
demo-process-stays = 演示的某个进程无法结束

## 运行命令

need-missing = 缺少
col-state = 状态
hint-add = 请运行 akm add { $name }
hint-enable = 请运行 akm enable { $name }
hint-rotate = 请运行 akm rotate { $name }
hint-no-use-only = 请运行 akm edit { $name } --no-use-only

## 固定取值

status-active = 可用
status-disabled = 已停用
status-expired = 已过期
status-burned = 已泄露
outcome-valid = 有效
outcome-valid-restricted = 有效（受限）
outcome-invalid = 无效
outcome-no-permission = 无权限
outcome-out-of-credit = 余额不足
outcome-rate-limited = 请求过频
outcome-unreachable = 无法连接
outcome-unverifiable = 无法验证
kind-locked = 已锁定
kind-wrong-credentials = 凭据错误
kind-not-found = 未找到
kind-conflict = 冲突
kind-denied = 被拒绝
kind-limit-reached = 达到上限
kind-rate-limited = 请求过频
kind-invalid-input = 输入无效
kind-corrupt = 数据损坏
kind-rolled-back = 数据回退
kind-unsupported-version = 版本不支持
kind-unavailable = 暂不可用
kind-provider = 服务商出错
kind-io = 读写出错
kind-internal = 内部错误
kind-no-agent = agent 未运行
kind-timeout = 超时
kind-closed = 已关闭
kind-forked = 进程已分叉
chain-account = 账户
chain-system = 系统
checked-akm = akm
checked-vault-directory = 保险库目录
checked-vault = 保险库
checked-journal = 审计日志
checked-configuration = 配置文件
checked-state = 状态目录
checked-host-key = 主机密钥
checked-socket = 套接字
checked-agent = agent
checked-agent-version = agent 版本
checked-agents-vault = agent 的保险库
checked-session = 会话
checked-keys = 密钥
checked-accounts = 账户
checked-clock = 系统时间
checked-time-since-boot = 开机时长
checked-agents-memory = agent 的内存
checked-your-programs = 您的程序
checked-core-dumps = 内存转储
checked-swap = 交换区
checked-locked-memory = 锁定的内存
checked-agents-user = agent 的用户
checked-who-may-connect = 谁可以连接
checked-system-calls = 系统调用
checked-files = 文件
checked-privileges = 特权
checked-kernel = 内核

## 余额

col-available = 可用
col-unit = 单位
col-used = 已用
col-total = 总额
col-of = 范围
col-remark = 说明
balance-of-account = 账户
balance-of-key = 此密钥
balance-of-plan = 套餐
balance-kind-prepaid = 预付
balance-kind-quota = 按周期恢复
balance-kind-spend = 已消费
balance-unlimited = 不限
balance-low = 低于 { $threshold }
balance-uncompared = 未与 { $threshold } 比较
balance-uncompared-why = 未与 { $threshold } 比较：{ $why }
balance-owed = 欠费 { $amount }
balance-spent-since = 自 { $time } 起的消费
balance-left-out = { $count } 个密钥的服务商不提供余额，未列出
field-low-balance = 余额下限
field-team = 团队
## 服务商与模型

col-provider = 服务商
col-variable = 变量
col-test = 测试
col-default-model = 默认模型
col-category = 用途
col-context = 上下文
col-price-in = 输入/百万
col-price-out = 输出/百万
col-currency = 币种
col-marks = 标记
test-free = 免费
test-costs = 可能耗费少量 token
test-proves-nothing = 无法证明
provider-active = 在用
provider-uncertain = 不确定
provider-retired = 已停用
category-chat = 对话
category-code = 代码
category-reasoning = 推理
category-vision = 视觉
category-long-context = 长上下文
category-economy = 经济
category-embedding = 向量
category-image = 图像
category-audio = 语音
category-rerank = 重排
category-search = 搜索
unknown = 未知
mark-default = 默认
mark-unlicensed = 仅 model-bank
mark-unverified = 未核实
mark-retires = { $date } 下线
no-models = 没有模型
models-as-of = 共 { $count } 个模型；价格按每百万 token 计，截至 { $date }
models-installed = 已安装 { $count } 个模型
models-reset = 已恢复内置模型目录

## 自定义服务商

no-terminal-to-ask = 没有可以提问的终端
provider-needs-name = 服务商需要一个名称
provider-added = 已添加 { $name }；用 akm add { $name } 存入它的密钥
provider-removed = 已移除 { $name }；它的密钥保留，仍只发往添加时绑定的主机
ask-provider-rm = 移除服务商 { $name }？[y/N]{" "}
ask-provider-name = 名称，用于密钥名（my-gateway）：
ask-provider-address = 地址（https://gw.example.com/v1 或 http://127.0.0.1:PORT）：
ask-provider-auth = 请求如何携带密钥：bearer 或 header:NAME [bearer]：
ask-provider-test-path = 测试请求的路径，从主机根目录起 [地址下的 models]：
ask-provider-proves = 是否只有有效密钥才会得到成功应答？[y/N]{" "}
ask-provider-variable = akm run 设置的变量 [{ $standard }]：
## 测试

col-tested = 上次测试
field-tested = 上次测试
left-out-retired = 已跳过 { $name }：服务商已停用
left-out-costs = 已跳过 { $name }：测试可能产生费用
hint-name-left-out = 如仍要测试其中某一个，请运行 akm test NAME
## 命令和它的密钥

not-masked = 注意：{ $name } 不到 { $least } 个字符，输出里不遮盖它
cannot-run = 命令无法运行
left-out-use-only = 注意：{ $name } 只能使用、不能取出，已跳过
left-out-disabled = 注意：{ $name } 已停用，已跳过
left-out-expired = 注意：{ $name } 已过期，已跳过
left-out-burned = 注意：{ $name } 已泄露，已跳过
preferred-taken-away = 注意：命令得不到 { $name }，因为程序会优先用它而不用 { $instead }
left-out-no-variable = 注意：{ $name } 没有对应的变量，已跳过；可以用 akm edit --env 指定
need-ok = 正常

## 管理：admin、account sessions

col-role = 角色
col-keys = 密钥数
col-limit = 上限
col-sessions = 会话数
col-totp = 两步验证
col-disabled = 已停用
col-id = 编号
col-current = 本会话
col-from = 来源
session-here = 本机
sessions-ended = 已结束
admin-granted = { $account } 现在是管理员
admin-revoked = { $account } 现在是普通用户
account-disabled = { $account } 已停用：其网络会话已结束，也不能再从网络登录
account-enabled = { $account } 已启用
account-limited = { $account } 最多可存 { $limit } 个密钥
account-unlimited = 管理员不再限制 { $account } 的密钥数
invitation-made = 可用 { $uses } 次，有效期至 { $time }；只显示这一次
hint-admin-log-more = 还有更多：akm admin log --after { $cursor }
## 更换密钥体系

rekey-goes-on = 有一次换钥尚未完成：继续进行
rekey-codes = 此前的恢复码已全部作废
rekey-done = 账户已换用新的加密密钥；{ $keys } 个密钥已用它们重新加密
rekey-progress = 进行中：{ $done } / { $total }
field-rekey = 换钥
codes-undelivered = 警告：您手中的恢复码已失效，而新的恢复码随 akm vault rekey 的应答一起丢失了
hint-codes-undelivered = 请运行 akm totp codes 生成新的恢复码
hint-rekey-goes-on = 没有丢失任何内容：运行 akm vault rekey 可继续，下次解锁后也会自动继续

## agent 的询问：是否允许该程序取用密钥？

confirm-question = akm：是否允许该程序取用 { $key }？
confirm-question-change = akm：允许该程序更改 { $key } 吗？
confirm-question-beside = akm：允许该程序更改保险库的内容吗？
confirm-operation = {"  "}操作：    { $op }
confirm-program = {"  "}程序：    { $program }
confirm-script = {"  "}脚本：    { $script }
confirm-directory = {"  "}目录：    { $directory }
confirm-parents = {"  "}启动自：  { $parents }
confirm-known = {"  "}已知为：  { $names }
confirm-container = {"  "}容器：    { $name }
confirm-traced = {"  "}警告：    有调试器控制着该程序
confirm-environment = {"  "}警告：    其环境变量会向该程序加载代码
confirm-namespace = {"  "}警告：    该程序位于自建的用户命名空间中
confirm-unreadable = {"  "}警告：    无法查看该程序
confirm-because-key = {"  "}原因：    该密钥每次使用都需确认
confirm-because-policy = {"  "}原因：    没有授权涵盖该程序
confirm-because-learning = {"  "}原因：    首次使用；回答 yes 后将授权该程序取用此密钥
confirm-unknown = 未知
confirm-inline = 不在文件中的代码
confirm-answer-askpass = 请回答 yes，或 yes 加时长：yes 10m
confirm-answer-terminal = yes、yes 10m（十分钟内同样允许）或 no：{" "}
confirm-too-late = 未及时得到回答，视为不允许
confirm-withdrawn = 密钥库已在此期间锁定，无需再回答

## 授权与策略

granted = 已授权：{ $who } 可取用 { $what }
grant-removed = 已收回：{ $who } 不再可取用 { $what }
no-grants = 没有授权
every-key = 所有密钥
grant-learns = （首次使用时询问）
grant-under = 位于 { $directory } 之下
grant-via = 经由 { $name }
grant-until = { $grant }，至 { $time }
grants-here = { $count ->
    [0] 无
   *[other] { $count } 条，其中适用于本程序 { $covering } 条
}
hint-grant-any-script = 该授权对此程序的任何脚本都有效；用 --script 可限定一个脚本
hint-grant-open = 当前策略为 open，任何程序本来就能取用：请运行 akm policy set ask 或 granted
field-policy = 一般程序
field-policy-agents = 编码代理之下
field-policy-sandboxes = 沙箱之下
policy-open = open：您的任何程序都可取用
policy-ask = ask：询问用户
policy-granted = granted：仅限有授权的程序

## 状态：为何锁定，以及最近的请求

locked-because = 已锁定（{ $reason }）
lock-asked = 按要求
lock-lifetime = 有效期已到
lock-idle = 一段时间未使用
lock-suspend = 机器已挂起
lock-screen = 屏幕已锁定
lock-signal = agent 收到 SIGUSR1
lock-stop = agent 已结束
lock-unlock = 重新解锁
lock-credential = 口令或其他解锁方式已更改
lock-restore = 已恢复备份
agent-of = { $version }（pid { $pid }）
asked-by = { $time } { $exe }（pid { $pid }）请求 { $what }：{ $outcome }
field-since = 解锁于
field-idle = 闲置锁定
field-last-asked = 最近请求
field-policy-here = 策略
field-grants = 授权
field-lifetime = 有效期

## 套餐与订单

col-tier = 套餐
col-tier-name = 名称
col-price = 每月
col-most-keys = 密钥数
col-most-providers = 自定义服务商
col-most-requests = 每分钟请求
col-order = 订单
col-order-state = 状态
col-months = 月数
col-amount = 金额
col-paid-at = 付款
col-order-note = 需核对
field-tier = 套餐
field-tier-state = 状态
field-keys = 密钥
field-paid-until = 付费至
field-holds-until = 宽限至
field-email = 邮件
field-hook = 群机器人
field-locale = 语言
nowhere = 无
locale-en = 英文
locale-zh = 中文
no-limit = 不限
keys-of = { $keys }，上限 { $most }
tier-local = 自己的账户，无限制
tier-none = 未付费
tier-paid = 已付费
tier-grace = 已到期，仍在宽限期内
hint-over-limit = 所有密钥都会保留并可继续取用；在数量减少或升级套餐之前不能新增：akm billing tiers
no-orders = 没有订单
no-tiers = 没有套餐：没有账户受套餐限制
order-held = 等待人工处理
order-paid = 已付款
order-refunded = 已退款
order-dismissed = 已驳回
order-is = 订单 { $number }：{ $state }
order-link = { $provider }：{ $amount }
order-note-account = 属于谁
order-note-product = 此处不售
order-note-paid-less = 付款不足
order-note-paid-more = 付款过多
order-note-months = 月数不明
order-note-currency = 币种不同
order-note-unpaid = 是否已付款
hint-orders-next = 更多：akm admin orders --after { $cursor }
no-notices = 今天没有需要知道的事
notice-tier-ends = 套餐 { $tier } 将于 { $date } 到期
notice-tier-grace = 套餐 { $tier } 已于 { $date } 到期，尚有几天宽限
notice-over-limit = 密钥数量超过套餐 { $tier } 的上限：不会丢失，但不能新增
notice-key-expires = { $key } 将于 { $date } 过期
notice-key-expired = { $key } 已于 { $date } 过期
reminder-tier-subject = akm：套餐 { $tier } 将在 { $days } 天后到期
reminder-tier = 您的账户 { $account } 的套餐 { $tier } 将于 { $date } 到期。到期后所有密钥仍归您所有，照常可以取用；只是不能再新增超出免费套餐的密钥。
reminder-key-subject = akm：{ $key } 将在 { $days } 天后过期
reminder-key = 您的账户 { $account } 的密钥 { $key } 将于 { $date } 过期。此后将不再提供；akm rotate 可存入新的密钥，akm edit --expires 可修改日期。
import-needs-settings = 导入 LLM API Manager 的数据库需要其服务器的设置文件

## Administration of a server

col-answered = 已应答
col-failed = 失败
col-faults = 服务器故障
field-accounts = 账户
field-sessions = 会话
field-vault-size = 保险库
field-last-backup = 最近备份
field-disk = 磁盘
field-certificate = 证书有效期至
field-offsite = 异地副本
never-yet = 从未
disk-free = 剩余 { $free }，共 { $total }
alert-since = 告警：{ $what }，自 { $time } 起
alert-backup = 最近的备份过旧
alert-offsite = 最近的备份未复制到异地
alert-errors = 因服务器故障而失败的请求过多
alert-disk = 磁盘空间即将用尽
alert-certificate = 证书即将到期
alert-subject = akm 告警：{ $what }
alert-body = akm 服务器自 { $time } 起报告：{ $what }。此通知只发送一次。请用 akm admin status 或监控页面查看。
code-open = 可用
code-used = 已使用
code-expired = 已过期
code-revoked = 该兑换码已作废
shared-provider-put = 所有账户都可使用服务商 { $name }
shared-provider-removed = 已移除服务商 { $name }；密钥保留，仍绑定其主机
ask-passphrase-to-remove = 请输入口令以删除账户：{" "}
ask-account-rm = 删除账户 { $account } 及其全部密钥？[y/N]{" "}
account-removed = 已删除账户 { $account } 及其 { $keys } 个密钥
